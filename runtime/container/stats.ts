import { readFiles } from '../../native/index.js';
import type { StatsExtent } from '../cgroup/types.js';
import type { Containers } from './service.js';
import type { Container, ContainerStats, ProcessFigures } from './types.js';

/** Figures of the containers that exist, all cgroups read in one hop. */
export async function containerStats(
  { deps, store }: Containers,
  ids: readonly string[],
  extent: StatsExtent,
): Promise<readonly ContainerStats[]> {
  const containers = ids.flatMap((id) => store.get(id)?.value ?? []);
  const paths = containers.map((container) => container.cgroupPath);
  const [cgroups, layers, counts, limits] = await Promise.all([
    deps.cgroups.stats(paths, extent),
    Promise.all(containers.map((container) => deps.snapshots.usage(container.id))),
    extent === 'full' ? deps.cgroups.countProcesses(paths) : [],
    extent === 'full' ? readSoftLimits(containers) : [],
  ]);
  return containers.map((container, index) => {
    const count = counts[index];
    return {
      container,
      cgroup: cgroups[index],
      writableLayer: layers[index],
      processes: count && { ...count, softLimits: limits[index] ?? new Map<string, undefined>() },
    };
  });
}

type SoftLimits = ProcessFigures['softLimits'];

async function readSoftLimits(containers: readonly Container[]): Promise<readonly SoftLimits[]> {
  // An empty path cannot be read.
  const files = await readFiles(
    containers.map(({ state }) => ('init' in state ? `/proc/${state.init.pid}/limits` : '')),
  );
  return files.map((text) =>
    typeof text === 'string' ? parseSoftLimits(text) : new Map<string, undefined>(),
  );
}

const softLimit = /^(Max open files|Max processes) +(\d+|unlimited)/gm;

/** man 5 proc_pid_limits: name, soft limit, hard limit and unit in columns. */
export function parseSoftLimits(text: string): SoftLimits {
  return new Map(
    [...text.matchAll(softLimit)].map(([, name = '', value = '']) => [
      name.toLowerCase().replaceAll(' ', '_'),
      value === 'unlimited' ? undefined : BigInt(value),
    ]),
  );
}
