import type { PodSandboxStatsRequest, PodSandboxStatsResponse } from '../../protos/gen/cri/runtime/v1/api.js';
import { findSandbox } from '../find.js';
import type { Call } from '../rpc.js';
import { readSandboxStats } from '../sandbox-stats.js';

export async function podSandboxStats(
  { podSandboxId }: PodSandboxStatsRequest,
  { runtime, cpuRates }: Call,
): Promise<PodSandboxStatsResponse> {
  const [stats] = await readSandboxStats(runtime, cpuRates, [findSandbox(runtime, podSandboxId)]);
  return { stats };
}
