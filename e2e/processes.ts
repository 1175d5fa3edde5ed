import { readFile, readdir } from 'node:fs/promises';
import { pidfdOpen, waitPidfd } from '../native/index.js';
import { isErrno } from '../runtime/errors.js';

/** Processes of this machine, looked at from outside. */

/** The arguments of a process; empty for one that has ended. */
export async function commandOf(pid: number): Promise<readonly string[]> {
  const text = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return text.split('\0').filter((word) => word !== '');
}

/** Pid and start time of a process: what tells it from a later one with its number. */
export async function identityOf(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  return `${pid} since ${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`;
}

/** Every process that has the word among its arguments. */
export async function processesWith(word: string): Promise<readonly number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(
    pids.map(async (pid) => ((await commandOf(pid)).includes(word) ? [pid] : [])),
  );
  return found.flat();
}

/** Resolves when the process has ended, reaped or not. */
export async function ended(pid: number): Promise<void> {
  try {
    await waitPidfd(pidfdOpen(pid));
  } catch (error) {
    if (!isErrno(error, 'ESRCH', 'EINVAL')) throw error;
  }
}
