import type { StopContainerRequest, StopContainerResponse } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Call } from '../rpc.js';
import { refuse } from '../translate/check.js';
import { toMilliseconds } from '../translate/time.js';

/** A container that is gone is stopped. */
export async function stopContainer(
  { containerId, timeout }: StopContainerRequest,
  { runtime, signal }: Call,
): Promise<StopContainerResponse> {
  if (containerId === '') throw refuse('container_id', 'must not be empty');
  const container = runtime.containers.find(containerId);
  if (container !== undefined) await runtime.containers.stop(container.id, toMilliseconds(timeout), signal);
  return {};
}
