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
import type { SandboxRecord } from './record.js';
import type { LiveSandbox, Sandboxes } from './service.js';
import { detachNetwork, dismantleSandbox, forgetSandbox, writeSandboxState } from './stop.js';
import type { Sandbox, SandboxRequest } from './types.js';

/** Kubernetes' size of a pod's /dev/shm, as every runtime makes it. */
const SHM_SIZE_BYTES = 64 * 1024 * 1024;

/**
 * Makes a sandbox: name, network address, record, cgroup, pause process in new namespaces, network. What exists is
 * undone backwards if a later step fails or the caller gives up.
 */
export async function runSandbox(
  room: Sandboxes,
  request: SandboxRequest,
  signal: AbortSignal,
): Promise<LiveSandbox> {
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
    await writeRecord(room, live);
    failpoint('sandbox.run.after-record');
    timer.mark('record');

    rollback.add('kernel objects', () => dismantleSandbox(room, live));
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
    signal.throwIfAborted();
    live.value = { ...live.value, timingsMs: timer.stages };
    writeSandboxState(deps, live);
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

async function writeRecord({ deps }: Sandboxes, live: LiveSandbox): Promise<void> {
  const { id, request, createdAtNs, cgroupPath, netnsPath, files } = live.value;
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
  const directory = path.join(deps.podsDir, id);
  // The state directory first: a record of this boot without one tells that somebody removed it.
  fileBatchSync([
    { op: 'mkdir', path: path.join(deps.statePodsDir, id), mode: 0o755 },
    { op: 'replace', path: files.hosts, data: request.files.hosts, mode: 0o644 },
    { op: 'replace', path: files.hostname, data: `${request.hostname}\n`, mode: 0o644 },
    { op: 'replace', path: files.resolvConf, data: request.files.resolvConf, mode: 0o644 },
  ]);
  await fileBatch([
    { op: 'mkdir', path: directory, mode: 0o700 },
    { op: 'replace', path: path.join(directory, 'record.json'), data: JSON.stringify(record), mode: 0o600 },
  ]);
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
