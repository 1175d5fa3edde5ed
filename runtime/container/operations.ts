import { RuntimeError } from '../errors.js';
import type { Resources } from '../spec/types.js';
import { writeState } from './exit.js';
import { withResources } from './record.js';
import type { Containers, LiveContainer } from './service.js';
import { isAlive } from './stop.js';

/** Freezes every process. */
export async function pauseContainer(room: Containers, live: LiveContainer): Promise<void> {
  await room.lock.hold(live.value.id, async () => {
    const { phase } = live.value.state;
    if (phase !== 'running')
      throw new RuntimeError('FailedPrecondition', `container is ${phase}, not running`);
    await room.deps.cgroups.open(live.value.cgroupPath).freeze();
    room.apply(live, { event: 'paused' });
    await writeState(room.deps.containersDir, live);
    room.publish('changed', live);
  });
}

export async function resumeContainer(room: Containers, live: LiveContainer): Promise<void> {
  await room.lock.hold(live.value.id, async () => {
    const { phase } = live.value.state;
    if (phase !== 'paused') throw new RuntimeError('FailedPrecondition', `container is ${phase}, not paused`);
    await room.deps.cgroups.open(live.value.cgroupPath).thaw();
    room.apply(live, { event: 'resumed' });
    await writeState(room.deps.containersDir, live);
    room.publish('changed', live);
  });
}

/** CRI ReopenContainerLog: after the kubelet has renamed the file. Takes no lock. */
export async function reopenLog(live: LiveContainer): Promise<void> {
  const { phase } = live.value.state;
  if (phase !== 'running' || live.monitor === undefined) {
    throw new RuntimeError('FailedPrecondition', `container is ${phase}, not running`);
  }
  await live.monitor.reopenLog();
}

/** Applies the limits that are given and keeps them: all, or if one is refused or cannot be kept, none. */
export async function updateContainer(
  room: Containers,
  live: LiveContainer,
  resources: Resources,
): Promise<void> {
  await room.lock.hold(live.value.id, async () => {
    if (!isAlive(live))
      throw new RuntimeError('FailedPrecondition', `container is ${live.value.state.phase}, not running`);
    const { spec } = live.value;
    const change = completeChange(spec.linux?.resources, resources);
    const putBack = await room.deps.cgroups.open(live.value.cgroupPath).update(change);
    live.value = {
      ...live.value,
      spec: withResources(spec, mergeResources(spec.linux?.resources, change)),
    };
    try {
      await writeState(room.deps.containersDir, live);
    } catch (error) {
      live.value = { ...live.value, spec };
      await putBack();
      throw error;
    }
    room.publish('changed', live);
  });
}

/** Values that one control file holds together, or that are told from each other's difference, change together. */
export function completeChange(old: Resources | undefined, change: Resources): Resources {
  const { cpu, memory } = change;
  return {
    ...change,
    ...(cpu?.period === undefined ? {} : { cpu: { quota: old?.cpu?.quota, ...cpu } }),
    ...(memory?.swap === undefined ? {} : { memory: { limit: old?.memory?.limit, ...memory } }),
  };
}

/** What is given replaces what was set, value by value. */
export function mergeResources(old: Resources | undefined, change: Resources): Resources {
  const pages = new Map(
    [...(old?.hugepageLimits ?? []), ...(change.hugepageLimits ?? [])].map((limit) => [
      limit.pageSize,
      limit,
    ]),
  );
  return {
    ...old,
    ...change,
    cpu: { ...old?.cpu, ...change.cpu },
    memory: { ...old?.memory, ...change.memory },
    unified: { ...old?.unified, ...change.unified },
    hugepageLimits: [...pages.values()],
  };
}

/** Dumps the container into an archive and lets it run on. */
export async function checkpointContainer(
  room: Containers,
  live: LiveContainer,
  request: { readonly location: string; readonly timeoutMs: number },
  signal: AbortSignal,
): Promise<void> {
  const { checkpointer } = room.deps;
  if (checkpointer === undefined)
    throw new RuntimeError('FailedPrecondition', 'checkpointing is not available on this node');
  if (live.value.spec.linux?.namespaces?.some(({ type }) => type === 'user') === true)
    throw new RuntimeError('Unimplemented', 'checkpoint of a container with a user namespace');
  await room.lock.hold(
    live.value.id,
    async () => {
      const { id, state, spec, cgroupPath, request: created, createdAtNs, logPath } = live.value;
      if (state.phase !== 'running')
        throw new RuntimeError('FailedPrecondition', `container is ${state.phase}, not running`);
      await checkpointer.checkpoint(
        {
          id,
          name: created.name,
          spec,
          init: state.init,
          cgroupPath,
          imageId: created.image.id,
          client: created.client,
          createdAtNs,
          startedAtNs: state.startedAtNs,
          logPath,
          location: request.location,
          timeoutMs: request.timeoutMs,
        },
        signal,
      );
    },
    signal,
  );
}
