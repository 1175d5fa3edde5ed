import type { StreamPodSandboxesRequest } from '../../protos/gen/cri/runtime/v1/api.js';
import { selectSandboxes } from '../filters.js';
import { sandboxList } from '../lists.js';
import type { Call } from '../rpc.js';

/** ListPodSandbox in several messages: the sandboxes there were when the call came. */
export function streamPodSandboxes(
  { filter }: StreamPodSandboxesRequest,
  { runtime, signal }: Call,
): AsyncIterable<Buffer> {
  return sandboxList.chunks(selectSandboxes(runtime, filter), signal);
}
