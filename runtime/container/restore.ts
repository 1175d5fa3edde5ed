import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { closeFd, seqpacketPair } from '../../native/index.js';
import { RuntimeError } from '../errors.js';
import {
  constructContainer,
  launchMonitor,
  planOptions,
  ROOTFS_MOUNTPOINT,
  type Construction,
  type Parts,
} from './create.js';
import type { Monitor, OpenCheckpoint } from './deps.js';
import type { Containers, LiveContainer } from './service.js';
import type { ContainerRequest } from './types.js';

/** Beside the rootfs' mount point; both are used in CRIU's mount namespace only. */
const SHM_MOUNTPOINT = 'shm';

/**
 * Makes a new container whose processes go on where a checkpoint was taken. Mounts, cgroup, devices and namespaces are the
 * request's: the archive gives memory, open files and the writable layer. The container runs afterwards.
 */
export async function restoreContainer(
  room: Containers,
  request: ContainerRequest,
  archivePath: string,
  signal: AbortSignal,
): Promise<LiveContainer> {
  const { checkpointer } = room.deps;
  if (checkpointer === undefined)
    throw new RuntimeError('FailedPrecondition', 'checkpointing is not available on this node');
  if (request.stdio.tty) throw new RuntimeError('Unimplemented', 'restore of a container with a terminal');
  const creation = { op: 'restore container', request, signal };
  return constructContainer(room, creation, async (construction, parts) => {
    await parts.made;
    const checkpoint = await checkpointer.open(archivePath, construction.live.value.id, signal);
    try {
      construction.timer.mark('extract');
      return await restore(room, construction, parts, checkpoint);
    } finally {
      await checkpoint.close();
    }
  });
}

async function restore(
  room: Containers,
  construction: Construction,
  parts: Parts,
  checkpoint: OpenCheckpoint,
): Promise<Monitor> {
  const { live, timer, signal } = construction;
  const { deps } = room;
  const { id } = live.value;
  await deps.snapshots.applyDiff(id, checkpoint.writableLayer(), signal);
  timer.mark('writableLayer');
  const stateDir = path.join(deps.stateContainersDir, id);
  const shmMountpoint = path.join(stateDir, SHM_MOUNTPOINT);
  await mkdir(shmMountpoint, { mode: 0o700 });
  const { plan, mounts, namespaces } = deps.plans.restore({
    container: planOptions(room, live, parts),
    shmMountpoint,
    program: checkpoint.program,
  });
  live.plan = plan;
  // Made here, so that CRIU takes us for its client, whose descriptors it opens.
  const [socket, theirs] = seqpacketPair();
  const monitor = await launchMonitor(room, construction, {
    parts,
    plan: deps.plans.encode(plan),
    restore: { passedFds: [theirs] },
  })
    .catch((error: unknown) => {
      closeFd(socket);
      throw error;
    })
    .finally(() => closeFd(theirs));
  timer.mark('monitor');
  let atNs = 0n;
  await checkpoint.restore(
    {
      socket,
      root: path.join(stateDir, ROOTFS_MOUNTPOINT),
      mounts,
      namespaces,
      spec: live.value.spec,
      processes: () => parts.cgroup.processes(),
      kill: () => parts.cgroup.kill(),
      onInit: async (pid) => {
        ({ atNs } = await monitor.becomeInit(pid));
      },
    },
    signal,
  );
  timer.mark('restore');
  room.apply(live, { event: 'created', init: monitor.init });
  room.apply(live, { event: 'started', atNs });
  return monitor;
}
