import path from 'node:path';
import { fileBatch, fileBatchSync, pidfdOpen, readFilesSync } from '../../native/index.js';
import { nowNs } from '../base/clock.js';
import { failpoint } from '../base/failpoint.js';
import { newId } from '../base/ids.js';
import { parseStartTime } from '../base/process-identity.js';
import { Rollback } from '../base/rollback.js';
import { StageTimer } from '../base/stage-timer.js';
import { RuntimeError, messageOf, wrapError } from '../errors.js';
import type { PreparedNetwork } from '../network/types.js';
import { RECORD } from '../records.js';
import type { SandboxRecord } from './record.js';
import type { LiveSandbox, Sandboxes } from './service.js';
import { detachNetwork, dismantleSandbox, forgetSandbox, writeSandboxState } from './stop.js';
import type { Sandbox, SandboxRequest } from './types.js';

/** Kubernetes' size of a pod's /dev/shm, as every runtime makes it. */
const SHM_SIZE_BYTES = 64 * 1024 * 1024;

interface Run {
  readonly request: SandboxRequest;
  readonly signal: AbortSignal;
  /** What the caller does meanwhile; there is no sandbox without it. */
  readonly beside: Promise<unknown> | undefined;
}

/**
 * Makes a sandbox: name, network address, record, cgroup, pause process in new namespaces, network. What exists is
 * undone backwards if a later step fails or the caller gives up.
 */
export async function runSandbox(room: Sandboxes, { request, signal, beside }: Run): Promise<LiveSandbox> {
  const { deps, store } = room;
  const id = newId();
  const live = newLiveSandbox(room, id, request);
  const holder = store.reserve(request.name, id);
  if (holder !== undefined) {
    throw new RuntimeError('AlreadyExists', `pod sandbox name ${request.name} is reserved for ${holder}`);
  }
  let unmade = true;
  const rollback = new Rollback();
  rollback.add('name', () => store.releaseName(request.name, id));
  const timer = new StageTimer();
  try {
    const prepared = await prepareNetwork(room, live, signal);
    live.attachment = prepared?.attachment;
    rollback.add('network', () => detachNetwork(deps, live));
    timer.mark('network.prepare');

    store.set(id, live);
    rollback.add('record', async () => {
      store.delete(id);
      // What could not be unmade now is left to the next start, which finds it by the record.
      if (unmade) await forgetSandbox(deps, id);
    });
    const record = printRecord(room, live);
    writeIntent(room, live, record);
    failpoint('sandbox.run.after-intent');
    const recording = writeRecord(room, id, record);
    // Whatever else fails before it is waited for.
    recording.catch(() => undefined);
    rollback.add('record in the making', async () => {
      await recording.catch(() => undefined);
    });
    timer.mark('intent');

    rollback.add('kernel objects', () => dismantleSandbox(room, live));
    // Here, while the thread pool waits for the disk.
    const cgroup = await deps.cgroups.create(live.value.cgroupPath, request.resources);
    failpoint('sandbox.run.after-cgroup');
    timer.mark('cgroup');

    const plan = deps.compilePausePlan({
      namespaces: request.namespaces,
      userNamespace: request.userNamespace,
      hostname: request.namespaces.network === 'pod' ? request.hostname : '',
      sysctls: request.sysctls,
      shmSizeBytes: SHM_SIZE_BYTES,
      pinNetns: live.value.netnsPath,
      network: prepared ?? { parentSteps: [], childSteps: [] },
      cgroup: cgroup.join,
    });
    await takePause(room, live, await deps.launchPause(plan, id, signal));
    failpoint('sandbox.run.after-pause');
    timer.mark('pause');

    if (prepared !== undefined) {
      live.value = { ...live.value, network: await prepared.attach(signal) };
      timer.mark('network.attach');
    }
    failpoint('sandbox.run.after-network');
    await Promise.all([recording, beside]);
    signal.throwIfAborted();
    live.value = { ...live.value, timingsMs: timer.stages };
    writeSandboxState(deps, live);
    // The one on disk stands now.
    fileBatchSync([{ op: 'unlink', path: path.join(deps.statePodsDir, id, RECORD) }]);
    rollback.commit();
    return live;
  } catch (error) {
    room.setState(live, { phase: 'removing' });
    await rollback.run((step, undoError) => {
      unmade = false;
      deps.logger.error('undo of a failed sandbox failed', {
        podSandboxId: id,
        step,
        error: messageOf(undoError),
      });
    });
    throw wrapError('run pod sandbox', error, request.name, { stagesMs: timer.stages });
  }
}

function newLiveSandbox({ deps }: Sandboxes, id: string, request: SandboxRequest): LiveSandbox {
  const stateDir = path.join(deps.statePodsDir, id);
  const value: Sandbox = {
    id,
    request,
    createdAtNs: nowNs(),
    state: { phase: 'creating' },
    cgroupPath: deps.cgroups.path(request.cgroupParent, id),
    netnsPath:
      request.namespaces.network === 'pod'
        ? path.join(deps.netnsDir, `podwright-${deps.instance}-${id.slice(0, 16)}`)
        : undefined,
    network: undefined,
    timingsMs: {},
    files: sandboxFiles(stateDir),
  };
  return {
    value,
    attachment: undefined,
    pause: undefined,
    pauseEnded: undefined,
    dismantled: false,
    stopping: undefined,
    removing: undefined,
  };
}

export function sandboxFiles(stateDir: string): Sandbox['files'] {
  return {
    hosts: path.join(stateDir, 'hosts'),
    hostname: path.join(stateDir, 'hostname'),
    resolvConf: path.join(stateDir, 'resolv.conf'),
  };
}

async function prepareNetwork(
  { deps }: Sandboxes,
  live: LiveSandbox,
  signal: AbortSignal,
): Promise<PreparedNetwork | undefined> {
  const { request, netnsPath, id, cgroupPath } = live.value;
  if (netnsPath === undefined) return undefined;
  if (request.network === undefined)
    throw new RuntimeError('InvalidArgument', 'a pod network needs its settings');
  return deps.network.prepare({ ...request.network, sandboxId: id, netnsPath, cgroupPath }, signal);
}

function printRecord({ deps }: Sandboxes, live: LiveSandbox): string {
  const { id, request, createdAtNs, cgroupPath, netnsPath } = live.value;
  const record: SandboxRecord = {
    version: 1,
    bootId: deps.bootId,
    id,
    createdAtNs: createdAtNs.toString(),
    request,
    cgroupPath,
    netnsPath,
    attachment: live.attachment,
  };
  return JSON.stringify(record);
}

function writeIntent({ deps }: Sandboxes, { value }: LiveSandbox, record: string): void {
  const { id, request, files } = value;
  const directory = path.join(deps.statePodsDir, id);
  fileBatchSync([
    { op: 'mkdir', path: directory, mode: 0o755 },
    { op: 'replace', path: path.join(directory, RECORD), data: record, mode: 0o600 },
    { op: 'replace', path: files.hosts, data: request.files.hosts, mode: 0o644 },
    { op: 'replace', path: files.hostname, data: `${request.hostname}\n`, mode: 0o644 },
    { op: 'replace', path: files.resolvConf, data: request.files.resolvConf, mode: 0o644 },
  ]);
}

async function writeRecord({ deps }: Sandboxes, id: string, record: string): Promise<void> {
  const directory = path.join(deps.podsDir, id);
  await fileBatch([
    { op: 'mkdir', path: directory, mode: 0o700 },
    { op: 'replace', path: path.join(directory, RECORD), data: record, mode: 0o600 },
  ]);
  failpoint('sandbox.run.after-record');
}

async function takePause(room: Sandboxes, live: LiveSandbox, pid: number): Promise<void> {
  const pidfd = pidfdOpen(pid);
  const [stat] = readFilesSync([`/proc/${pid}/stat`]);
  const startTime = typeof stat === 'string' ? parseStartTime(stat) : undefined;
  if (startTime === undefined) throw new RuntimeError('Internal', 'the pause process ended at once');
  live.pause = { pid, startTime };
  room.setState(live, { phase: 'ready', pause: live.pause });
  room.watchPause(live, pidfd);
}
