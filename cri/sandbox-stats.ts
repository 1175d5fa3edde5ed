import type { PodSandboxStats } from '../protos/gen/cri/runtime/v1/api.js';
import type { ContainerStats } from '../runtime/container/types.js';
import type { Sandbox } from '../runtime/sandbox/types.js';
import type { CpuRates } from './cpu-rates.js';
import type { Runtime } from '../runtime/index.js';
import { hasFigures } from './stats.js';
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
    runtime.containers.stats(containers.map((container) => container.id)),
  ]);
  const bySandbox = new Map<string, ContainerStats[]>();
  for (const stats of ofContainers) {
    const { sandboxId } = stats.container.request;
    const known = bySandbox.get(sandboxId);
    if (known === undefined) bySandbox.set(sandboxId, [stats]);
    else known.push(stats);
  }
  return readings.map((reading) =>
    toCriSandboxStats(reading, bySandbox.get(reading.sandbox.id) ?? [], (id, value) =>
      cpuRates.read(id, value),
    ),
  );
}
