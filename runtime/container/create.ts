import path from 'node:path';
import { fileBatch, fileBatchSync, readFiles, removeTree, type Fd } from '../../native/index.js';
import { nowNs } from '../base/clock.js';
import { failpoint } from '../base/failpoint.js';
import { newId } from '../base/ids.js';
import { Rollback } from '../base/rollback.js';
import { StageTimer } from '../base/stage-timer.js';
import { RuntimeError, messageOf, wrapError } from '../errors.js';
import type { Cgroup } from '../cgroup/types.js';
import type { Sandbox } from '../sandbox/types.js';
import type { Spec } from '../spec/types.js';
import {
  StepError,
  type ContainerPlanOptions,
  type Monitor,
  type OverlayRootfs,
  type SeccompProgram,
  type SpawnedMonitor,
} from './deps.js';
import { seccompOf } from './exec-sync.js';
import { followExit } from './exit.js';
import { RECORD, STATE } from '../records.js';
import { printContainerState, type ContainerRecord } from './record.js';
import { completeSpec, logPathOf } from './complete-spec.js';
import { imageTrees, pinImages, unpinImages } from './image-mounts.js';
import { pidTargetOf } from './pid-target.js';
import type { Containers, LiveContainer } from './service.js';
import type { Container, ContainerRequest } from './types.js';

/** Names of a container's own files below its directory and state directory. */
export const ROOTFS_MOUNTPOINT = 'rootfs';
export const VOLUMES = 'volumes';

/** What a container's processes are made from. */
export interface Parts {
  readonly sandbox: Sandbox;
  readonly rootfs: OverlayRootfs;
  readonly cgroup: Cgroup;
  readonly seccomp: SeccompProgram | undefined;
  readonly spawned: SpawnedMonitor;
  /** Until then writable layer and cgroup are names: a plan can be made, and no more. */
  readonly made: Promise<void>;
  /** The record is on disk; the one of the intent does until then. */
  readonly recorded: Promise<void>;
}

export interface Creation {
  /** For messages. */
  readonly op: string;
  readonly request: ContainerRequest;
  readonly signal: AbortSignal;
}

/** A container under construction: each thing that exists is registered for the way back. */
export interface Construction {
  readonly live: LiveContainer;
  readonly rollback: Rollback;
  readonly timer: StageTimer;
  readonly signal: AbortSignal;
}

/** Makes a container up to the point where init waits on its exec fifo: record, writable layer, cgroup, plan, monitor. */
export async function createContainer(
  room: Containers,
  request: ContainerRequest,
  signal: AbortSignal,
): Promise<LiveContainer> {
  const creation = { op: 'create container', request, signal };
  return constructContainer(room, creation, async (construction, parts) => {
    const { live, timer } = construction;
    live.plan = room.deps.plans.container(planOptions(room, live, parts));
    const encoded = room.deps.plans.encode(live.plan);
    timer.mark('plan');
    await parts.made;
    const monitor = await launchMonitor(room, construction, { parts, plan: encoded });
    failpoint('container.create.after-monitor');
    timer.mark('monitor');
    signal.throwIfAborted();
    room.apply(live, { event: 'created', init: monitor.init });
    return monitor;
  });
}

/**
 * The frame of every creation: record, writable layer and cgroup are begun before `make` runs, which waits for them where
 * it must; the state is written after it. What exists is undone backwards if a step fails or the caller gives up.
 */
export async function constructContainer(
  room: Containers,
  { op, request, signal }: Creation,
  make: (construction: Construction, parts: Parts) => Promise<Monitor>,
): Promise<LiveContainer> {
  const { deps, store } = room;
  const sandbox = readySandbox(room, request.sandboxId, op);
  const id = newId();
  const live = newLiveContainer(room, id, sandbox, request);
  const holder = store.reserve(request.name, id);
  if (holder !== undefined) {
    throw new RuntimeError('AlreadyExists', `container name ${request.name} is reserved for ${holder}`);
  }
  let unmade = true;
  const rollback = new Rollback();
  rollback.add('name', () => store.releaseName(request.name, id));
  const timer = new StageTimer();
  try {
    pinImages(room, id, request);
    rollback.add('image', () => unpinImages(room, id, request));
    store.set(id, live);
    rollback.add('record', async () => {
      store.delete(id);
      // What could not be unmade now is left to the next start, which finds it by the record.
      if (unmade) await forgetContainer(room, id);
    });
    const construction = { live, rollback, timer, signal };
    const parts = await beginParts(room, construction, sandbox);
    const monitor = await make(construction, parts);
    await parts.recorded;
    live.value = { ...live.value, timingsMs: timer.stages };
    writeCreated(room, live);
    // Before anybody can hear of its end.
    room.publish('created', live);
    if (live.value.state.phase === 'running') room.publish('started', live);
    followExit(room, live, monitor);
    rollback.commit();
    return live;
  } catch (error) {
    const starved = await starvedError(room, live).catch(() => undefined);
    await rollback.run((step, undoError) => {
      unmade = false;
      deps.logger.error('undo of a failed container failed', {
        containerId: id,
        step,
        error: messageOf(undoError),
      });
    });
    const cause =
      error instanceof StepError && live.plan !== undefined
        ? deps.plans.explain(live.plan, error.failure)
        : error;
    throw wrapError(op, starved ?? cause, request.name, { stagesMs: timer.stages });
  }
}

/** A launch whose processes the kernel killed for memory fails in any step, with any error: the limit is the reason. */
async function starvedError({ deps }: Containers, live: LiveContainer): Promise<RuntimeError | undefined> {
  const { oomPath } = deps.cgroups.open(live.value.cgroupPath);
  const limit = live.value.spec.linux?.resources?.memory?.limit;
  if (oomPath === undefined || limit === undefined) return undefined;
  const [events] = await readFiles([oomPath]);
  if (typeof events !== 'string' || !/^oom_kill [1-9]/m.test(events)) return undefined;
  return new RuntimeError('ResourceExhausted', `a memory limit of ${limit} bytes is too small to start in`);
}

export function planOptions(
  room: Containers,
  { value }: LiveContainer,
  { sandbox, rootfs, cgroup, seccomp }: Parts,
): ContainerPlanOptions {
  const { deps } = room;
  return {
    spec: value.spec,
    rootfs,
    rootfsMountpoint: path.join(deps.stateContainersDir, value.id, ROOTFS_MOUNTPOINT),
    sandbox: sandboxToJoin(sandbox, value),
    pidTarget: pidTargetOf(room, value.request),
    imageMounts: imageTrees(room, value.request),
    cgroup: { ...cgroup.join, directories: cgroup.directories },
    seccomp,
    fileLimit: deps.fileLimit,
    keyringName: value.id,
  };
}

function readySandbox({ deps }: Containers, id: string, op: string): Sandbox {
  const sandbox = deps.sandboxes.find(id);
  if (sandbox === undefined) throw new RuntimeError('NotFound', op, { cause: `no pod sandbox ${id}` });
  if (sandbox.state.phase !== 'ready') {
    throw new RuntimeError('FailedPrecondition', op, {
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
      spec: completeSpec(request, {
        sandbox,
        volumesDir: path.join(deps.containersDir, id, VOLUMES),
        cgroupPath: deps.cgroups.path(sandbox.request.cgroupParent, id),
        pidTarget: pidTargetOf(room, { ...request, sandboxId: sandbox.id })?.pid,
      }),
      logPath: logPathOf(request),
      timingsMs: {},
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

/**
 * Record, writable layer, cgroup and the monitor's process do not need each other. All are begun at once, once the record
 * stands where it costs nothing: the next start unmakes by it whatever was made.
 */
async function beginParts(
  room: Containers,
  { live, rollback, timer }: Construction,
  sandbox: Sandbox,
): Promise<Parts> {
  const { deps } = room;
  const { id, request, cgroupPath, spec } = live.value;
  const record = printRecord(room, live);
  writeIntent(room, id, record);
  rollback.add('snapshot', () => deps.snapshots.remove(id));
  rollback.add('cgroup', () => deps.cgroups.open(cgroupPath).destroy());
  const making = Promise.allSettled([
    deps.cgroups.create(cgroupPath, spec.linux?.resources, 'aside'),
    deps.snapshots.prepare(id, request.image.chainId).then(() => fillVolumes(room, live)),
  ]);
  const made = making.then((results) => {
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    failpoint('container.create.after-parts');
    timer.mark('writable layer and cgroup');
  });
  // Of those who wait for it, somebody may fail first.
  made.catch(() => undefined);
  rollback.add('parts in the making', async () => {
    await making;
  });
  const spawned = deps.monitors.spawn(id);
  rollback.add('monitor process', () => spawned.release());
  // Last: nobody waits for it but the end.
  const recorded = writeRecord(room, id, record);
  recorded.catch(() => undefined);
  rollback.add('record in the making', async () => {
    await recorded.catch(() => undefined);
  });
  const seccomp = await seccompOf(room, live);
  const rootfs = deps.snapshots.find(id);
  if (rootfs === undefined) {
    await made;
    throw new RuntimeError('Internal', `the writable layer of ${id} is gone`);
  }
  return { sandbox, rootfs, cgroup: deps.cgroups.open(cgroupPath), seccomp, spawned, made, recorded };
}

function printRecord({ deps }: Containers, { value }: LiveContainer): string {
  const { id, request, createdAtNs, cgroupPath, spec } = value;
  const record: ContainerRecord = {
    version: 1,
    bootId: deps.bootId,
    id,
    createdAtNs: createdAtNs.toString(),
    request: { ...request, spec },
    cgroupPath,
  };
  return JSON.stringify(record);
}

function writeIntent({ deps }: Containers, id: string, record: string): void {
  const directory = path.join(deps.stateContainersDir, id);
  fileBatchSync([
    { op: 'mkdir', path: directory, mode: 0o700 },
    { op: 'mkdir', path: path.join(directory, ROOTFS_MOUNTPOINT), mode: 0o700 },
    { op: 'replace', path: path.join(directory, RECORD), data: record, mode: 0o600 },
  ]);
  failpoint('container.create.after-intent');
}

async function writeRecord({ deps }: Containers, id: string, record: string): Promise<void> {
  const directory = path.join(deps.containersDir, id);
  await fileBatch([
    // The snapshot room may have made it just now.
    { op: 'mkdir', path: directory, mode: 0o700, existOk: true },
    { op: 'replace', path: path.join(directory, RECORD), data: record, mode: 0o600 },
  ]);
  failpoint('container.create.after-record');
}

/** Below the state directory: whether the creation ended matters to this boot alone. */
function writeCreated({ deps }: Containers, live: LiveContainer): void {
  const { id, state, timingsMs } = live.value;
  const data = printContainerState({
    version: 1,
    phase: 'created',
    init: 'init' in state ? state.init : undefined,
    timingsMs,
  });
  const directory = path.join(deps.stateContainersDir, id);
  fileBatchSync([
    { op: 'replace', path: path.join(directory, STATE), data, mode: 0o600 },
    // The one on disk stands now.
    { op: 'unlink', path: path.join(directory, RECORD) },
  ]);
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

interface Launch {
  readonly parts: Pick<Parts, 'cgroup' | 'spawned'>;
  /** Encoded. */
  readonly plan: Buffer;
  /** The plan executes a program that makes init. */
  readonly restore?: { readonly passedFds: readonly Fd[] };
}

/** The monitor with the plan at the end of its launch; undone by killing what it runs. */
export async function launchMonitor(
  { deps }: Containers,
  { live, rollback, signal }: Construction,
  { parts: { cgroup, spawned }, plan, restore }: Launch,
): Promise<Monitor> {
  const { id, request, spec } = live.value;
  const monitor = await deps.monitors.launch(
    {
      spawned,
      containerId: id,
      stateDir: path.join(deps.stateContainersDir, id),
      plan,
      stdio: request.stdio,
      log: request.log,
      oomPath: cgroup.oomPath,
      killPath: cgroup.killPath,
      killCgroup: restore !== undefined || !ownsPidNamespace(spec),
      restore: restore !== undefined,
      passedFds: restore?.passedFds,
      onLog: (level, message) => deps.logger[level >= 2 ? 'warn' : 'debug'](message, { containerId: id }),
    },
    signal,
  );
  rollback.add('monitor', async () => {
    await monitor.signal(9).catch(() => cgroup.kill());
    await monitor.exited;
  });
  live.monitor = monitor;
  return monitor;
}

/** Whether the kernel kills the whole container with its init. */
function ownsPidNamespace(spec: Spec): boolean {
  return (
    spec.linux?.namespaces?.some((namespace) => namespace.type === 'pid' && namespace.path === undefined) ??
    false
  );
}

/** Removes the directories of a container. What a crash leaves of one without the other the next start removes. */
export async function forgetContainer({ deps }: Containers, id: string): Promise<void> {
  await Promise.all([
    removeTree(path.join(deps.stateContainersDir, id)),
    removeTree(path.join(deps.containersDir, id)),
  ]);
}
