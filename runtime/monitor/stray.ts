import { readdir } from 'node:fs/promises';
import { pidfdOpen, pidfdSendSignal, readFiles, waitPidfd, closeFd, type Fd } from '../../native/index.js';
import { isErrno } from '../errors.js';

const SIGKILL = 9;
const SIGSTOP = 19;

/**
 * Kills the monitors of these containers with everything they have started: a daemon that died between spawning a
 * monitor and recording its container left them. A monitor is found by its command line; a process of a container that
 * imitates one is only killed itself.
 */
export async function killStrayMonitors(containerIds: ReadonlySet<string>): Promise<void> {
  if (containerIds.size === 0) return;
  const pids = await allPids();
  const commands = await readFiles(pids.map((pid) => `/proc/${pid}/cmdline`));
  const strays = pids.filter((_, index) => isMonitorOf(containerIds, commands[index]));
  await Promise.all(strays.map((pid) => killMonitor(pid, containerIds)));
}

async function allPids(): Promise<readonly number[]> {
  return (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
}

function isMonitorOf(containerIds: ReadonlySet<string>, command: unknown): boolean {
  if (typeof command !== 'string') return false;
  const [program, role, id, ...rest] = command.split('\0');
  return (
    program === 'podwright-init' && role === 'monitor' && containerIds.has(id ?? '') && rest.join('') === ''
  );
}

/** Stopped first: then it reaps nobody, and its children, the launcher's too, stay its children until all are dead. */
async function killMonitor(pid: number, containerIds: ReadonlySet<string>): Promise<void> {
  const pidfd = openPid(pid);
  if (pidfd === undefined) return;
  const [command] = await readFiles([`/proc/${pid}/cmdline`]);
  if (!isMonitorOf(containerIds, command)) {
    closeFd(pidfd);
    return;
  }
  send(pidfd, SIGSTOP);
  while (await killChildren(pid));
  send(pidfd, SIGKILL);
  await waitPidfd(pidfd);
}

/** Whether there was a living child. */
async function killChildren(parent: number): Promise<boolean> {
  const pids = await allPids();
  const stats = await readFiles(pids.map((pid) => `/proc/${pid}/stat`));
  const children = pids.filter((_, index) => isLivingChild(parent, stats[index]));
  await Promise.all(
    children.map(async (pid) => {
      const pidfd = openPid(pid);
      if (pidfd === undefined) return;
      const [stat] = await readFiles([`/proc/${pid}/stat`]);
      if (isLivingChild(parent, stat)) send(pidfd, SIGKILL);
      await waitPidfd(pidfd);
    }),
  );
  return children.length > 0;
}

/** Fields 3 and 4 of /proc/PID/stat, counted from the end of the name. */
function isLivingChild(parent: number, stat: unknown): boolean {
  if (typeof stat !== 'string') return false;
  const [state, ppid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ppid === String(parent) && state !== 'Z' && state !== 'X';
}

function openPid(pid: number): Fd | undefined {
  try {
    return pidfdOpen(pid);
  } catch (error) {
    if (isErrno(error, 'ESRCH', 'EINVAL')) return undefined;
    throw error;
  }
}

function send(pidfd: Fd, signal: number): void {
  try {
    pidfdSendSignal(pidfd, signal);
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  }
}
