import type { ContainerStats as CriContainerStats } from '../protos/gen/cri/runtime/v1/api.js';
import type { Container, ContainerStats } from '../runtime/container/types.js';
import type { CpuRates } from './cpu-rates.js';
import type { Runtime } from '../runtime/index.js';
import { toCriContainerStats } from './translate/stats-answer.js';

/** Containers that have figures: those with a cgroup. */
export function hasFigures({ state }: Container): boolean {
  return state.phase === 'created' || state.phase === 'running' || state.phase === 'paused';
}

/** Reads the figures of containers, all at once. */
export async function readContainerStats(
  runtime: Runtime,
  cpuRates: CpuRates,
  containers: readonly Container[],
): Promise<CriContainerStats[]> {
  const stats = await runtime.containers.stats(containers.map((container) => container.id));
  return stats.map((reading) => toCriContainerStats(reading, (id, value) => cpuRates.read(id, value)));
}

/** The figures of containers by their sandbox' id. */
export function groupBySandbox(
  figures: readonly ContainerStats[],
): ReadonlyMap<string, readonly ContainerStats[]> {
  const groups = new Map<string, ContainerStats[]>();
  for (const stats of figures) {
    const { sandboxId } = stats.container.request;
    const group = groups.get(sandboxId);
    if (group === undefined) groups.set(sandboxId, [stats]);
    else group.push(stats);
  }
  return groups;
}
