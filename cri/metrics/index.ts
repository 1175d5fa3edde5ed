import { Registry } from 'prom-client';
import type { Logger } from '../../runtime/base/logger.js';
import { RuntimeError } from '../../runtime/errors.js';
import type { Runtime } from '../../runtime/index.js';
import { parseMetricsAddress } from './address.js';
import { callMeter } from './calls.js';
import { meterObjects } from './objects.js';
import { meterProcess } from './process.js';
import { serveMetrics } from './server.js';
import { meterStages } from './stages.js';
import type { Metrics } from './types.js';

export interface MetricsOptions {
  /** `unix:/path`, `host:port` or `[v6]:port` */
  readonly address: string;
  readonly version: string;
  readonly runtime: Runtime;
  readonly log: Logger;
}

/**
 * Begins to measure and to serve. To be imported only where an address is configured: the library costs 11 MiB.
 *
 * @throws InvalidArgument (address), what listen(2) says
 */
export async function openMetrics({
  address,
  version,
  runtime,
  log,
}: MetricsOptions): Promise<Metrics & { readonly port: number | undefined }> {
  const place = parseMetricsAddress(address);
  if (place === undefined) throw new RuntimeError('InvalidArgument', 'metrics.address', { subject: address });
  const registry = new Registry();
  meterProcess(registry, version);
  meterObjects(registry, runtime);
  meterStages(registry, runtime);
  const begin = callMeter(registry);
  const page = { contentType: registry.contentType, render: () => registry.metrics() };
  const server = await serveMetrics(place, page, log);
  return { begin, port: server.port, close: () => server.close() };
}
