import { binding } from './binding.js';

/** Who is in a cgroup and those below it. */
export interface ProcessCounts {
  readonly processes: number;
  /** Open descriptors of all of them, at most 32768. */
  readonly descriptors: number;
  /** Those that are sockets. */
  readonly sockets: number;
}

/**
 * Counts the processes of cgroups (directories of one hierarchy) and what they have open, in one hop of the thread pool;
 * undefined where there is no such directory. Bounded, because whoever runs in the cgroup decides how much there is: 256
 * cgroups, 4096 processes and 32768 descriptors each.
 */
export async function processCounts(
  directories: readonly string[],
): Promise<readonly (ProcessCounts | undefined)[]> {
  const counts = await binding.processCounts(directories);
  return counts.map((numbers) => {
    if (numbers === undefined) return undefined;
    const [processes, descriptors, sockets] = numbers;
    return { processes, descriptors, sockets };
  });
}
