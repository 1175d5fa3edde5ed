import type {
  ListPodSandboxStatsRequest,
  ListPodSandboxStatsResponse,
} from '../../protos/gen/cri/runtime/v1/api.js';
import { selectSandboxes } from '../filters.js';
import type { Call } from '../rpc.js';
import { readSandboxStats } from '../sandbox-stats.js';

/** Ready sandboxes only: the others use nothing. */
export async function listPodSandboxStats(
  { filter }: ListPodSandboxStatsRequest,
  { runtime, cpuRates }: Call,
): Promise<ListPodSandboxStatsResponse> {
  const ready = selectSandboxes(runtime, filter).filter((sandbox) => sandbox.state.phase === 'ready');
  return { stats: await readSandboxStats(runtime, cpuRates, ready) };
}
