import type { StreamContainerStatsRequest } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Container } from '../../runtime/container/types.js';
import { inBatches } from '../encoded-list.js';
import { selectContainers } from '../filters.js';
import { containerStatsList } from '../lists.js';
import type { Call } from '../rpc.js';
import { hasFigures, readContainerStats } from '../stats.js';

/** Containers whose figures are read at once. */
const batchSize = 64;

/** ListContainerStats in several messages. */
export function streamContainerStats(
  { filter }: StreamContainerStatsRequest,
  { runtime, cpuRates, signal }: Call,
): AsyncIterable<Buffer> {
  const containers = selectContainers(runtime, filter).filter(hasFigures);
  const read = (batch: readonly Container[]) => readContainerStats(runtime, cpuRates, batch);
  return inBatches(containers, { size: batchSize, read, list: containerStatsList, signal });
}
