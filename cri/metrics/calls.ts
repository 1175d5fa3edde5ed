import { performance } from 'node:perf_hooks';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { CallCode } from './types.js';

/** Most calls take single milliseconds; a stop takes as long as the container does. */
const secondsBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
const pullBuckets = [0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800];

/** What the calls of clients say: how many, how long, how they ended. */
export function callMeter(registry: Registry): (path: string) => (code: CallCode) => void {
  const registers = [registry];
  const labelNames = ['service', 'rpc'] as const;
  const duration = new Histogram({
    name: 'podwright_rpc_duration_seconds',
    help: 'Time from the arrival of a call to its answer; of a stream, to its end.',
    labelNames,
    buckets: secondsBuckets,
    registers,
  });
  const total = new Counter({
    name: 'podwright_rpcs_total',
    help: 'Calls that were answered, by their code.',
    labelNames: [...labelNames, 'code'],
    registers,
  });
  const inProgress = new Gauge({
    name: 'podwright_rpcs_in_progress',
    help: 'Calls that are being answered: of ExecSync, the commands that run.',
    labelNames,
    registers,
  });
  const pull = new Histogram({
    name: 'podwright_image_pull_duration_seconds',
    help: 'Time that pulls took, by how they ended.',
    labelNames: ['code'],
    buckets: pullBuckets,
    registers,
  });
  return (path) => {
    const [, service = '', rpc = ''] = path.split('/');
    const startedAtMs = performance.now();
    inProgress.inc({ service, rpc });
    return (code) => {
      const seconds = (performance.now() - startedAtMs) / 1000;
      inProgress.dec({ service, rpc });
      total.inc({ service, rpc, code });
      duration.observe({ service, rpc }, seconds);
      if (rpc === 'PullImage') pull.observe({ code }, seconds);
    };
  };
}
