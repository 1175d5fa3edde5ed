import type { ListPodSandboxMetricsRequest } from '../../protos/gen/cri/runtime/v1/api.js';
import { streamPodMetrics } from '../pod-metrics/read.js';
import type { Call } from '../rpc.js';

/** Ready sandboxes only. */
export async function listPodSandboxMetrics(
  _: ListPodSandboxMetricsRequest,
  { runtime, signal }: Call,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of streamPodMetrics(runtime, signal)) chunks.push(chunk);
  // Each is a message of repeated fields; so is what they make together.
  return Buffer.concat(chunks);
}
