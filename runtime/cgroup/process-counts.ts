import { processCounts, type ProcessCounts } from '../../native/index.js';
import { hierarchyOf, type CgroupLayout } from './layout.js';

/** Counts the processes of many cgroups and what they have open, in one hop. */
export async function countProcesses(
  layout: CgroupLayout,
  paths: readonly string[],
): Promise<readonly (ProcessCounts | undefined)[]> {
  // Not the hierarchy in which an exec has a cgroup of its own, where there is another: one directory to look at.
  const mountpoint =
    hierarchyOf(layout, 'pids')?.mountpoint ??
    hierarchyOf(layout, 'memory')?.mountpoint ??
    layout.unified ??
    layout.v1[0]?.mountpoint;
  if (mountpoint === undefined) return paths.map(() => undefined);
  return processCounts(paths.map((cgroupPath) => `${mountpoint}${cgroupPath}`));
}
