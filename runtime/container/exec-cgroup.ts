import { randomUUID } from 'node:crypto';
import type { ExecCgroup } from '../cgroup/types.js';
import type { Containers, LiveContainer } from './service.js';

/** Those whose command has ended, but not all that it has started. */
const outlived = new WeakMap<LiveContainer, Set<ExecCgroup>>();

/**
 * Runs `use` with a cgroup for one command. The monitor kills and removes it with what it executes in there; what it was
 * never told of, or could not remove while a background process of the command lived, is removed here: at the end of
 * `use`, or when the next command is executed.
 */
export async function withExecCgroup<T>(
  room: Containers,
  live: LiveContainer,
  use: (cgroup: ExecCgroup, ended: () => void) => Promise<T>,
): Promise<T> {
  await removeOutlived(live);
  // Its last group: Node takes the bits of many of them at once.
  const name = `exec-${randomUUID().slice(-12)}`;
  const cgroup = await room.deps.cgroups.open(live.value.cgroupPath).createExec(name);
  // Usually the monitor has done it by then; the answer does not wait for it.
  const ended = (): void => void setImmediate(() => void remove(live, cgroup));
  try {
    return await use(cgroup, ended);
  } catch (error) {
    await remove(live, cgroup);
    throw error;
  }
}

async function removeOutlived(live: LiveContainer): Promise<void> {
  const left = outlived.get(live);
  if (left === undefined) return;
  outlived.delete(live);
  await Promise.all([...left].map((cgroup) => remove(live, cgroup)));
}

async function remove(live: LiveContainer, cgroup: ExecCgroup): Promise<void> {
  try {
    await cgroup.remove();
  } catch {
    // Somebody lives in it.
    const left = outlived.get(live) ?? new Set();
    outlived.set(live, left.add(cgroup));
  }
}
