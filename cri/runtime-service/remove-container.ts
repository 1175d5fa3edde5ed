import type { RemoveContainerRequest, RemoveContainerResponse } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Call } from '../rpc.js';
import { refuse } from '../translate/check.js';

/** A container that is gone is removed. */
export async function removeContainer(
  { containerId }: RemoveContainerRequest,
  { runtime, signal }: Call,
): Promise<RemoveContainerResponse> {
  if (containerId === '') throw refuse('container_id', 'must not be empty');
  const container = runtime.containers.find(containerId);
  if (container !== undefined) await runtime.containers.remove(container.id, signal);
  return {};
}
