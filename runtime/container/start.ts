import { failpoint } from '../base/failpoint.js';
import { RuntimeError } from '../errors.js';
import { StepError } from './deps.js';
import type { Containers, LiveContainer } from './service.js';

/** Releases init from its exec fifo. A command that cannot be executed ends the container with 128, StartError. */
export async function startContainer(
  room: Containers,
  live: LiveContainer,
  signal: AbortSignal,
): Promise<void> {
  await room.lock.hold(
    live.value.id,
    async () => {
      const { state } = live.value;
      if (state.phase !== 'created' || live.monitor === undefined) {
        throw new RuntimeError('FailedPrecondition', `container is ${state.phase}, not created`);
      }
      const { monitor } = live;
      try {
        const { atNs } = await monitor.start();
        failpoint('container.start.after-release');
        // A short command may have ended already, and that was told.
        if (live.value.state.phase === 'created') {
          room.apply(live, { event: 'started', atNs });
          room.publish('started', live);
        }
      } catch (error) {
        await live.ended;
        throw error instanceof StepError && live.plan !== undefined
          ? room.deps.plans.explain(live.plan, error.failure)
          : error;
      }
    },
    signal,
  );
}
