import path from 'node:path';
import { messageOf } from '../errors.js';
import { readRecords } from '../records.js';
import { forgetContainer } from './create.js';
import type { AdoptedMonitor } from './deps.js';
import { finish, followExit, lostExit } from './exit.js';
import { logPathOf } from './complete-spec.js';
import { pinImages, unpinImages } from './image-mounts.js';
import {
  parseContainerRecord,
  parseContainerState,
  withResources,
  type ContainerRecord,
  type ContainerStateFile,
} from './record.js';
import type { Containers, LiveContainer } from './service.js';

/**
 * Makes the records, the monitors and the kernel agree after a start. May itself be killed and repeated.
 *
 *   record of this boot, no state            a creation that never answered: killed, unmade, forgotten
 *   record below the state directory alone   the same
 *   record of this boot, no state directory  somebody removed it: as state created
 *   state created, monitor answers           adopted in the phase it names
 *   state created, exit record               exited, with the monitor's own figures
 *   state created, neither                   the monitor was lost: cgroup killed, exited 255 Unknown
 *   state exited                             as it says
 *   record of another boot, no exit          exited 255 Unknown
 *   record unreadable                        kept aside as .corrupt, the others go on
 *   state unreadable                         as state created: the monitor, or its exit record, knows
 */
export async function recoverContainers(room: Containers): Promise<void> {
  const { deps, store } = room;
  const half: LiveContainer[] = [];
  const found = await readRecords({
    kind: 'container',
    idField: 'containerId',
    directory: deps.containersDir,
    stateDirectory: deps.stateContainersDir,
    bootId: deps.bootId,
    logger: deps.logger,
    parseRecord: parseContainerRecord,
    parseState: parseContainerState,
    madeOnce: (): ContainerStateFile => ({ version: 1, phase: 'created', timingsMs: {} }),
    forget: (id) => forgetContainer(room, id),
  });
  for (const { record, state } of found) {
    const live = revive(room, record, state);
    store.set(record.id, live);
    if (state === undefined) half.push(live);
    else await adopt(room, live, record, state);
  }
  await deps.monitors.killStray(new Set(half.map((live) => live.value.id)));
  for (const live of half) await unmake(room, live);
  await removeOrphans(room);
  await deps.snapshots.sweep(new Set(room.list().map((container) => container.id)));
}

function revive(
  room: Containers,
  record: ContainerRecord,
  state: ContainerStateFile | undefined,
): LiveContainer {
  room.store.reserve(record.request.name, record.id);
  pinImages(room, record.id, record.request);
  return {
    value: {
      id: record.id,
      request: record.request,
      createdAtNs: BigInt(record.createdAtNs),
      state: { phase: 'creating' },
      cgroupPath: record.cgroupPath,
      spec: withResources(record.request.spec, state?.resources),
      logPath: logPathOf(record.request),
      timingsMs: state?.timingsMs ?? {},
    },
    monitor: undefined,
    ended: undefined,
    cleaned: Promise.resolve(false),
    plan: undefined,
    seccomp: undefined,
    stop: undefined,
    removing: undefined,
  };
}

async function adopt(
  room: Containers,
  live: LiveContainer,
  record: ContainerRecord,
  state: ContainerStateFile,
): Promise<void> {
  const { deps } = room;
  if (state.exit !== undefined) {
    room.apply(live, { event: 'exited', exit: state.exit });
    return;
  }
  const stateDir = path.join(deps.stateContainersDir, record.id);
  const sameBoot = record.bootId === deps.bootId;
  const adopted = sameBoot ? await deps.monitors.adopt(stateDir) : undefined;
  if (adopted !== undefined && adopted.phase !== 'creating') {
    await takeOver(room, live, adopted, state.paused ?? false);
    deps.logger.info('container adopted', { containerId: record.id, phase: adopted.phase });
    return;
  }
  const exit = sameBoot ? await deps.monitors.readExit(stateDir) : undefined;
  finish(room, live, exit ?? lostExit());
}

async function takeOver(
  room: Containers,
  live: LiveContainer,
  adopted: AdoptedMonitor,
  paused: boolean,
): Promise<void> {
  room.apply(live, { event: 'created', init: adopted.monitor.init });
  if (adopted.phase === 'running' || adopted.phase === 'exited')
    room.apply(live, { event: 'started', atNs: adopted.startedAtNs });
  const cgroup = room.deps.cgroups.open(live.value.cgroupPath);
  if (paused && live.value.state.phase === 'running') room.apply(live, { event: 'paused' });
  else if (await cgroup.isFrozen()) await cgroup.thaw();
  await cgroup.sweepExecs();
  followExit(room, live, adopted.monitor);
}

/** What cannot be unmade now is left to the next start: nobody knows of it, and the others must go on. */
async function unmake(room: Containers, live: LiveContainer): Promise<void> {
  const { deps, store } = room;
  const { id, request, cgroupPath } = live.value;
  store.delete(id);
  store.releaseName(request.name, id);
  try {
    await deps.cgroups.open(cgroupPath).destroy();
    await deps.snapshots.remove(id);
    await forgetContainer(room, id);
    deps.logger.info('half made container unmade', { containerId: id });
  } catch (error) {
    deps.logger.error('half made container not unmade', { containerId: id, error: messageOf(error) });
  } finally {
    unpinImages(room, id, request);
  }
}

/** Containers of a sandbox that is gone: nobody will ever ask for their removal. */
async function removeOrphans(room: Containers): Promise<void> {
  const { logger, sandboxes } = room.deps;
  for (const { id, request } of room.list()) {
    if (sandboxes.find(request.sandboxId) !== undefined) continue;
    logger.warn('container without sandbox removed', { containerId: id, podSandboxId: request.sandboxId });
    await room.remove(id, new AbortController().signal).catch((error: unknown) => {
      logger.error('container without sandbox not removed', { containerId: id, error: messageOf(error) });
    });
  }
}
