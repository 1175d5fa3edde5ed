import type { StreamPodSandboxStatsRequest } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Sandbox } from '../../runtime/sandbox/types.js';
import { inBatches } from '../encoded-list.js';
import { selectSandboxes } from '../filters.js';
import { sandboxStatsList } from '../lists.js';
import type { Call } from '../rpc.js';
import { readSandboxStats } from '../sandbox-stats.js';

/** Sandboxes whose figures, with those of their containers, are read at once. */
const batchSize = 32;

/** ListPodSandboxStats in several messages: ready sandboxes only. */
export function streamPodSandboxStats(
  { filter }: StreamPodSandboxStatsRequest,
  { runtime, cpuRates, signal }: Call,
): AsyncIterable<Buffer> {
  const ready = selectSandboxes(runtime, filter).filter((sandbox) => sandbox.state.phase === 'ready');
  const read = (batch: readonly Sandbox[]) => readSandboxStats(runtime, cpuRates, batch);
  return inBatches(ready, { size: batchSize, read, list: sandboxStatsList, signal });
}
