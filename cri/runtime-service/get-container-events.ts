import type { GetEventsRequest } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Call } from '../rpc.js';

export function getContainerEvents(
  _request: GetEventsRequest,
  { runtime, events, signal }: Call,
): AsyncIterable<Buffer> {
  return events.follow(runtime, signal);
}
