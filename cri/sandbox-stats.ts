import type { PodSandboxStats } from '../protos/gen/cri/runtime/v1/api.js';
import type { Sandbox } from '../runtime/sandbox/types.js';
import type { CpuRates } from './cpu-rates.js';
import type { Runtime } from '../runtime/index.js';
import { hasFigures, readContainerStats } from './stats.js';
import { toCriSandboxStats } from './translate/stats-answer.js';

/** Reads the figures of sandboxes with their containers', all at once. */
export async function readSandboxStats(
  runtime: Runtime,
  cpuRates: CpuRates,
  sandboxes: readonly Sandbox[],
): Promise<PodSandboxStats[]> {
  const ids = new Set(sandboxes.map((sandbox) => sandbox.id));
  const containers = runtime.containers
    .list()
    .filter((container) => ids.has(container.request.sandboxId) && hasFigures(container));
  const [readings, ofContainers] = await Promise.all([
    runtime.sandboxes.stats([...ids]),
    readContainerStats(runtime, cpuRates, containers),
  ]);
  const sandboxOf = new Map(containers.map((container) => [container.id, container.request.sandboxId]));
  return readings.map((reading) =>
    toCriSandboxStats(
      reading,
      ofContainers.filter((stats) => sandboxOf.get(stats.attributes?.id ?? '') === reading.sandbox.id),
      (id, value) => cpuRates.read(id, value),
    ),
  );
}
