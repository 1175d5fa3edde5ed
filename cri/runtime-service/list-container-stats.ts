import type {
  ListContainerStatsRequest,
  ListContainerStatsResponse,
} from '../../protos/gen/cri/runtime/v1/api.js';
import { selectContainers } from '../filters.js';
import type { Call } from '../rpc.js';
import { hasFigures, readContainerStats } from '../stats.js';

export async function listContainerStats(
  { filter }: ListContainerStatsRequest,
  { runtime, cpuRates }: Call,
): Promise<ListContainerStatsResponse> {
  const containers = selectContainers(runtime, filter).filter(hasFigures);
  return { stats: await readContainerStats(runtime, cpuRates, containers) };
}
