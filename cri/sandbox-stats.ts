import type { PodSandboxStats } from '../protos/gen/cri/runtime/v1/api.js';
import type { Sandbox } from '../runtime/sandbox/types.js';
import type { CpuRates } from './cpu-rates.js';
import type { Runtime } from '../runtime/index.js';
import { groupBySandbox, hasFigures } from './stats.js';
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
    runtime.containers.stats(
      containers.map((container) => container.id),
      // A pod without a cgroup of its own is the sum of its parts, processes too.
      sandboxes.some(({ request }) => request.cgroupParent === '') ? 'pod' : 'brief',
    ),
  ]);
  const bySandbox = groupBySandbox(ofContainers);
  return readings.map((reading) =>
    toCriSandboxStats(reading, bySandbox.get(reading.sandbox.id) ?? [], (id, value) =>
      cpuRates.read(id, value),
    ),
  );
}
