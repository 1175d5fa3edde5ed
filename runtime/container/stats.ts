import type { Containers } from './service.js';
import type { ContainerStats } from './types.js';

/** Figures of the containers that exist, all cgroups read in one hop. */
export async function containerStats(
  { deps, store }: Containers,
  ids: readonly string[],
): Promise<readonly ContainerStats[]> {
  const containers = ids.flatMap((id) => store.get(id)?.value ?? []);
  const [cgroups, layers] = await Promise.all([
    deps.cgroups.stats(
      containers.map((container) => container.cgroupPath),
      'brief',
    ),
    Promise.all(containers.map((container) => deps.snapshots.usage(container.id))),
  ]);
  return containers.map((container, index) => ({
    container,
    cgroup: cgroups[index],
    writableLayer: layers[index],
  }));
}
