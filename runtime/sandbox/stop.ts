import path from 'node:path';
import {
  closeFd,
  fileBatchSync,
  pidfdOpen,
  pidfdSendSignal,
  readFilesSync,
  removeTree,
  umount,
  type Fd,
} from '../../native/index.js';
import { parseStartTime } from '../base/process-identity.js';
import { isErrno } from '../errors.js';
import type { SandboxDeps } from './deps.js';
import { STATE } from '../records.js';
import type { SandboxStateFile } from './record.js';
import type { LiveSandbox, Sandboxes } from './service.js';
import type { ProcessIdentity } from './types.js';

const SIGKILL = 9;
const MNT_DETACH = 2;

/**
 * Takes a sandbox apart: network, pause process, pinned namespace, cgroup. Every part may be gone already, so it serves
 * stop, the undo of a failed creation and recovery alike. A part that fails does not keep the others.
 *
 * @throws the first failure; to be repeated
 */
export async function dismantleSandbox({ deps }: Sandboxes, live: LiveSandbox): Promise<void> {
  const { cgroupPath, netnsPath } = live.value;
  const parts = [
    () => detachNetwork(deps, live),
    () => endPause(live),
    async () => netnsPath !== undefined && unpinNamespace(netnsPath),
    () => deps.cgroups.open(cgroupPath).destroy(),
  ];
  const failures: unknown[] = [];
  for (const part of parts) await part().catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}

async function endPause(live: LiveSandbox): Promise<void> {
  if (live.pause !== undefined) await killProcess(live.pause);
  if (live.pauseEnded !== undefined) await live.pauseEnded;
  live.pause = undefined;
}

/** Gives the network back, once. */
export async function detachNetwork(deps: SandboxDeps, live: LiveSandbox): Promise<void> {
  if (live.attachment === undefined) return;
  await deps.network.detach(live.attachment, new AbortController().signal);
  live.attachment = undefined;
}

/** SIGKILL, if the pid still is the process that was recorded. */
export async function killProcess(identity: ProcessIdentity): Promise<void> {
  const pidfd = openProcess(identity.pid);
  if (pidfd === undefined) return;
  const [stat] = readFilesSync([`/proc/${identity.pid}/stat`]);
  const same = typeof stat === 'string' && parseStartTime(stat) === identity.startTime;
  try {
    if (same) pidfdSendSignal(pidfd, SIGKILL);
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  } finally {
    closeFd(pidfd);
  }
}

function openProcess(pid: number): Fd | undefined {
  try {
    return pidfdOpen(pid);
  } catch (error) {
    if (isErrno(error, 'ESRCH')) return undefined;
    throw error;
  }
}

async function unpinNamespace(netnsPath: string): Promise<void> {
  try {
    umount(netnsPath, MNT_DETACH);
  } catch (error) {
    // EINVAL: the file is there but nothing is mounted on it (a launch that failed half way).
    if (!isErrno(error, 'ENOENT', 'EINVAL')) throw error;
  }
  fileBatchSync([{ op: 'unlink', path: netnsPath, missingOk: true }]);
}

/** Removes the directories of a sandbox. What a crash leaves of one without the other the next start removes. */
export async function forgetSandbox(deps: SandboxDeps, id: string): Promise<void> {
  await Promise.all([removeTree(path.join(deps.statePodsDir, id)), removeTree(path.join(deps.podsDir, id))]);
}

export function writeSandboxState(deps: SandboxDeps, live: LiveSandbox): void {
  const { id, state, network, podLimits, timingsMs } = live.value;
  const file: SandboxStateFile = {
    version: 1,
    phase: state.phase === 'ready' ? 'ready' : 'notready',
    pause: state.phase === 'ready' ? state.pause : undefined,
    network,
    message: state.phase === 'notready' ? state.message : undefined,
    podLimits,
    timingsMs,
  };
  const directory = path.join(deps.statePodsDir, id);
  fileBatchSync([
    { op: 'mkdir', path: directory, mode: 0o755, existOk: true },
    {
      op: 'replace',
      path: path.join(directory, STATE),
      data: JSON.stringify(file),
      mode: 0o600,
    },
  ]);
}
