import type { ContainerStatsRequest, ContainerStatsResponse } from '../../protos/gen/cri/runtime/v1/api.js';
import { findContainer } from '../find.js';
import type { Call } from '../rpc.js';
import { readContainerStats } from '../stats.js';

export async function containerStats(
  { containerId }: ContainerStatsRequest,
  { runtime, cpuRates }: Call,
): Promise<ContainerStatsResponse> {
  const [stats] = await readContainerStats(runtime, cpuRates, [findContainer(runtime, containerId)]);
  return { stats };
}
