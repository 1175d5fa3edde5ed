import { Histogram, type Registry } from 'prom-client';
import type { Runtime } from '../../runtime/index.js';

const buckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** How long each stage of a creation takes, as the runtime measured it. */
export function meterStages(registry: Registry, { sandboxes, containers }: Runtime): void {
  const stage = new Histogram({
    name: 'podwright_stage_duration_seconds',
    help: 'Time that a stage of the creation of a sandbox or container took.',
    labelNames: ['object', 'stage'] as const,
    buckets,
    registers: [registry],
  });
  const observe = (object: string, timingsMs: Readonly<Record<string, number>>): void => {
    for (const [name, ms] of Object.entries(timingsMs)) stage.observe({ object, stage: name }, ms / 1000);
  };
  sandboxes.subscribe(({ kind, sandbox }) => {
    if (kind === 'ready') observe('sandbox', sandbox.timingsMs);
  });
  containers.subscribe(({ kind, container }) => {
    if (kind === 'created') observe('container', container.timingsMs);
  });
}
