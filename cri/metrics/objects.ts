import { Counter, Gauge, type Registry } from 'prom-client';
import type { ContainerPhase } from '../../runtime/container/types.js';
import type { PullCounters } from '../../runtime/image/types.js';
import type { Runtime } from '../../runtime/index.js';
import type { SandboxState } from '../../runtime/sandbox/types.js';

const sandboxPhases = [
  'creating',
  'ready',
  'notready',
  'removing',
] as const satisfies SandboxState['phase'][];

const containerPhases = [
  'creating',
  'created',
  'running',
  'paused',
  'exited',
  'removing',
  'unknown',
] as const satisfies ContainerPhase[];

/** Those with a monitor process. */
const monitoredPhases: ReadonlySet<ContainerPhase> = new Set(['created', 'running', 'paused']);

/** How much there is of everything, counted when somebody asks. */
export function meterObjects(registry: Registry, runtime: Runtime): void {
  const registers = [registry];
  new Gauge({
    name: 'podwright_sandboxes',
    help: 'Sandboxes by state.',
    labelNames: ['state'] as const,
    registers,
    collect() {
      const phases = runtime.sandboxes.list().map(({ state }) => state.phase);
      for (const state of sandboxPhases) this.set({ state }, count(phases, state));
    },
  });
  new Gauge({
    name: 'podwright_containers',
    help: 'Containers by state.',
    labelNames: ['state'] as const,
    registers,
    collect() {
      const phases = runtime.containers.list().map(({ state }) => state.phase);
      for (const state of containerPhases) this.set({ state }, count(phases, state));
    },
  });
  new Gauge({
    name: 'podwright_monitors',
    help: 'Monitor processes: one for each container that has not ended.',
    registers,
    collect() {
      this.set(runtime.containers.list().filter(({ state }) => monitoredPhases.has(state.phase)).length);
    },
  });
  new Gauge({
    name: 'podwright_images',
    help: 'Images in the store.',
    registers,
    collect() {
      this.set(runtime.images.list().length);
    },
  });
  meterPulls(registry, () => runtime.images.counters());
}

function meterPulls(registry: Registry, counters: () => PullCounters): void {
  const count = (name: string, help: string, read: (counters: PullCounters) => number): void => {
    new Counter({
      name,
      help,
      registers: [registry],
      collect() {
        this.reset();
        this.inc(read(counters()));
      },
    });
  };
  count('podwright_image_pulls_total', 'Pulls begun; joined ones count once.', ({ pulls }) => pulls);
  count('podwright_image_pull_failures_total', 'Pulls that failed.', ({ failures }) => failures);
  count(
    'podwright_image_pull_bytes_total',
    'Bytes received from registries.',
    ({ downloadedBytes }) => downloadedBytes,
  );
  count(
    'podwright_image_pull_retries_total',
    'Downloads begun again after a failure.',
    ({ retries }) => retries,
  );
  new Gauge({
    name: 'podwright_image_pulls_in_progress',
    help: 'Pulls that are under way.',
    registers: [registry],
    collect() {
      this.set(counters().active);
    },
  });
}

function count<T>(values: readonly T[], wanted: T): number {
  return values.filter((value) => value === wanted).length;
}
