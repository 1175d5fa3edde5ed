import type { StreamContainersRequest } from '../../protos/gen/cri/runtime/v1/api.js';
import { selectContainers } from '../filters.js';
import { containerList } from '../lists.js';
import type { Call } from '../rpc.js';

/** ListContainers in several messages: the containers there were when the call came. */
export function streamContainers(
  { filter }: StreamContainersRequest,
  { runtime, signal }: Call,
): AsyncIterable<Buffer> {
  return containerList.chunks(selectContainers(runtime, filter), signal);
}
