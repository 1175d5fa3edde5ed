import path from 'node:path';
import { fileBatch, removeTree } from '../../native/index.js';
import { nowNs } from '../base/clock.js';
import { failpoint } from '../base/failpoint.js';
import { newId } from '../base/ids.js';
import { Rollback } from '../base/rollback.js';
import { StageTimer } from '../base/stage-timer.js';
import { RuntimeError, messageOf, wrapError } from '../errors.js';
import type { Sandbox } from '../sandbox/types.js';
import type { Spec } from '../spec/types.js';
import { StepError, type ContainerPlanOptions, type Monitor } from './deps.js';
import { followExit } from './exit.js';
import { printContainerState, type ContainerRecord } from './record.js';
import { completeSpec, logPathOf } from './complete-spec.js';
import type { Containers, LiveContainer } from './service.js';
import type { Container, ContainerRequest } from './types.js';

/** Names of a container's own files below its directory and state directory. */
export const ROOTFS_MOUNTPOINT = 'rootfs';
export const VOLUMES = 'volumes';

/**
 * Makes a container up to the point where init waits on its exec fifo: record, writable layer, cgroup, plan, monitor.
 * What exists is undone backwards if a later step fails or the caller gives up.
 */
export async function createContainer(
  room: Containers,
  request: ContainerRequest,
  signal: AbortSignal,
): Promise<LiveContainer> {
  const { deps, store } = room;
  const sandbox = readySandbox(room, request.sandboxId);
  const id = newId();
  const holder = store.reserve(request.name, id);
  if (holder !== undefined) {
    throw new RuntimeError('AlreadyExists', `container name ${request.name} is reserved for ${holder}`);
  }
  const rollback = new Rollback();
  rollback.add('name', () => store.releaseName(request.name, id));
  const timer = new StageTimer();
  const live = newLiveContainer(room, id, sandbox, request);
  try {
    deps.images.pin(request.image.id, id);
    rollback.add('image', () => deps.images.unpin(request.image.id, id));
    store.set(id, live);
    rollback.add('record', async () => {
      store.delete(id);
      await forgetContainer(room, id);
    });
    await writeRecord(room, live);
    failpoint('container.create.after-record');
    timer.mark('record');

    const [rootfs, cgroup, seccomp] = await acquire(room, live, rollback);
    await fillVolumes(room, live);
    failpoint('container.create.after-snapshot');
    timer.mark('snapshot');

    live.seccomp = seccomp;
    live.plan = deps.plans.container({
      spec: live.value.spec,
      rootfs,
      rootfsMountpoint: path.join(deps.stateContainersDir, id, ROOTFS_MOUNTPOINT),
      sandbox: sandboxToJoin(sandbox, live.value),
      cgroup: { ...cgroup.join, directories: cgroup.directories },
      seccomp,
      fileLimit: deps.fileLimit,
      keyringName: id,
    });
    timer.mark('plan');

    const monitor = await launch(room, live, deps.plans.encode(live.plan), signal);
    rollback.add('monitor', async () => {
      await monitor.signal(9).catch(() => cgroup.kill());
      await monitor.exited;
    });
    failpoint('container.create.after-monitor');
    live.monitor = monitor;
    timer.mark('monitor');
    signal.throwIfAborted();
    room.apply(live, { event: 'created', init: monitor.init });
    live.value = { ...live.value, timingsMs: timer.stages };
    await writeCreated(room, live);
    followExit(room, live, monitor);
    rollback.commit();
    return live;
  } catch (error) {
    await rollback.run((step, undoError) =>
      deps.logger.error('undo of a failed container failed', {
        containerId: id,
        step,
        error: messageOf(undoError),
      }),
    );
    const cause =
      error instanceof StepError && live.plan !== undefined
        ? deps.plans.explain(live.plan, error.failure)
        : error;
    throw wrapError('create container', cause, request.name);
  }
}

function readySandbox({ deps }: Containers, id: string): Sandbox {
  const sandbox = deps.sandboxes.find(id);
  if (sandbox === undefined)
    throw new RuntimeError('NotFound', 'create container', { cause: `no pod sandbox ${id}` });
  if (sandbox.state.phase !== 'ready') {
    throw new RuntimeError('FailedPrecondition', 'create container', {
      cause: `pod sandbox ${id} is ${sandbox.state.phase}`,
    });
  }
  return sandbox;
}

function newLiveContainer(
  room: Containers,
  id: string,
  sandbox: Sandbox,
  request: ContainerRequest,
): LiveContainer {
  const { deps } = room;
  return {
    value: {
      id,
      request: { ...request, sandboxId: sandbox.id },
      createdAtNs: nowNs(),
      state: { phase: 'creating' },
      cgroupPath: deps.cgroups.path(sandbox.request.cgroupParent, id),
      spec: completeSpec(
        request,
        sandbox,
        path.join(deps.containersDir, id, VOLUMES),
        deps.cgroups.path(sandbox.request.cgroupParent, id),
      ),
      logPath: logPathOf(request),
      timingsMs: {},
    },
    monitor: undefined,
    ended: undefined,
    cleaned: Promise.resolve(),
    plan: undefined,
    seccomp: undefined,
    stop: undefined,
    removing: undefined,
  };
}

async function writeRecord({ deps }: Containers, live: LiveContainer): Promise<void> {
  const { id, request, createdAtNs, cgroupPath, spec } = live.value;
  const record: ContainerRecord = {
    version: 1,
    bootId: deps.bootId,
    id,
    createdAtNs: createdAtNs.toString(),
    request: { ...request, spec },
    cgroupPath,
  };
  const directory = path.join(deps.containersDir, id);
  const stateDir = path.join(deps.stateContainersDir, id);
  await fileBatch([
    { op: 'mkdir', path: directory, mode: 0o700 },
    { op: 'replace', path: path.join(directory, 'record.json'), data: JSON.stringify(record), mode: 0o600 },
    { op: 'mkdir', path: stateDir, mode: 0o700 },
    { op: 'mkdir', path: path.join(stateDir, ROOTFS_MOUNTPOINT), mode: 0o700 },
  ]);
}

async function writeCreated({ deps }: Containers, live: LiveContainer): Promise<void> {
  const { id, state, timingsMs } = live.value;
  const data = printContainerState({
    version: 1,
    phase: 'created',
    init: state.phase === 'created' ? state.init : undefined,
    timingsMs,
  });
  await fileBatch([
    { op: 'replace', path: path.join(deps.containersDir, id, 'state.json'), data, mode: 0o600 },
  ]);
}

/** Writable layer, cgroup and seccomp program do not need each other. Both kernel objects are registered before either can fail. */
async function acquire({ deps }: Containers, live: LiveContainer, rollback: Rollback) {
  const { id, request, cgroupPath, spec } = live.value;
  rollback.add('snapshot', () => deps.snapshots.remove(id));
  rollback.add('cgroup', async () => {
    const cgroup = deps.cgroups.open(cgroupPath);
    await cgroup.kill();
    await cgroup.remove();
  });
  const results = await Promise.allSettled([
    deps.snapshots.prepare(id, request.image.chainId),
    deps.cgroups.create(cgroupPath, spec.linux?.resources),
    spec.linux?.seccomp === undefined ? undefined : deps.plans.seccomp(spec.linux.seccomp),
  ] as const);
  const [rootfs, cgroup, seccomp] = results;
  if (rootfs.status === 'rejected') throw rootfs.reason;
  if (cgroup.status === 'rejected') throw cgroup.reason;
  if (seccomp.status === 'rejected') throw seccomp.reason;
  return [rootfs.value, cgroup.value, seccomp.value] as const;
}

async function fillVolumes({ deps }: Containers, live: LiveContainer): Promise<void> {
  const { id, request } = live.value;
  if (request.volumes.length === 0) return;
  const directory = path.join(deps.containersDir, id, VOLUMES);
  await fileBatch([
    { op: 'mkdir', path: directory, mode: 0o700 },
    ...request.volumes.map(
      (_, index) => ({ op: 'mkdir', path: path.join(directory, String(index)), mode: 0o755 }) as const,
    ),
  ]);
  for (const [index, volume] of request.volumes.entries()) {
    await deps.snapshots.copyOut(request.image.chainId, volume, path.join(directory, String(index)));
  }
}

function sandboxToJoin(sandbox: Sandbox, { spec, request }: Container): ContainerPlanOptions['sandbox'] {
  if (sandbox.state.phase !== 'ready')
    throw new RuntimeError('FailedPrecondition', `pod sandbox ${sandbox.id} is not ready`);
  const hasShm = spec.mounts?.some((mount) => mount.destination === '/dev/shm') ?? false;
  return {
    pid: sandbox.state.pause.pid,
    startTime: sandbox.state.pause.startTime,
    sharedPid: request.sandboxNamespaces.includes('pid'),
    shm: hasShm ? 'none' : sandbox.request.namespaces.ipc === 'host' ? 'host' : 'pause',
  };
}

async function launch(
  { deps }: Containers,
  live: LiveContainer,
  plan: Buffer,
  signal: AbortSignal,
): Promise<Monitor> {
  const { id, request, cgroupPath, spec } = live.value;
  const cgroup = deps.cgroups.open(cgroupPath);
  return deps.monitors.launch(
    {
      containerId: id,
      stateDir: path.join(deps.stateContainersDir, id),
      plan,
      stdio: request.stdio,
      log: request.log,
      oomPath: cgroup.oomPath,
      killPath: cgroup.killPath,
      killCgroup: !ownsPidNamespace(spec),
      onLog: (level, message) => deps.logger[level >= 2 ? 'warn' : 'debug'](message, { containerId: id }),
    },
    signal,
  );
}

/** Whether the kernel kills the whole container with its init. */
function ownsPidNamespace(spec: Spec): boolean {
  return (
    spec.linux?.namespaces?.some((namespace) => namespace.type === 'pid' && namespace.path === undefined) ??
    false
  );
}

/** Removes the directories of a container, the record last. */
export async function forgetContainer({ deps }: Containers, id: string): Promise<void> {
  await removeTree(path.join(deps.stateContainersDir, id));
  await removeTree(path.join(deps.containersDir, id));
}
