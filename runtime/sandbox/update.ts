import { RuntimeError, wrapError } from '../errors.js';
import type { Sandboxes } from './service.js';
import { writeSandboxState } from './stop.js';
import type { PodLimits } from './types.js';

/** Keeps what is given of the limits of a pod, or nothing of them. */
export async function updatePodLimits(room: Sandboxes, id: string, limits: PodLimits): Promise<void> {
  const op = 'update pod sandbox';
  const live = room.store.find(id);
  if (live === undefined)
    throw new RuntimeError('NotFound', op, { subject: id, cause: 'no such pod sandbox' });
  await room.lock.hold(live.value.id, async () => {
    const before = live.value;
    if (before.state.phase !== 'ready') {
      throw new RuntimeError('FailedPrecondition', op, {
        subject: id,
        cause: `it is ${before.state.phase}, not ready`,
      });
    }
    live.value = { ...before, podLimits: { ...before.request.podLimits, ...before.podLimits, ...limits } };
    try {
      writeSandboxState(room.deps, live);
    } catch (error) {
      live.value = { ...live.value, podLimits: before.podLimits };
      throw wrapError(op, error, id);
    }
  });
}
