import type { StreamPodSandboxMetricsRequest } from '../../protos/gen/cri/runtime/v1/api.js';
import { streamPodMetrics } from '../pod-metrics/read.js';
import type { Call } from '../rpc.js';

/** ListPodSandboxMetrics in several messages: ready sandboxes only. */
export function streamPodSandboxMetrics(
  _: StreamPodSandboxMetricsRequest,
  { runtime, signal }: Call,
): AsyncIterable<Buffer> {
  return streamPodMetrics(runtime, signal);
}
