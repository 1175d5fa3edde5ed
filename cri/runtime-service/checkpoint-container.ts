import type {
  CheckpointContainerRequest,
  CheckpointContainerResponse,
} from '../../protos/gen/cri/runtime/v1/api.js';
import { findContainer } from '../find.js';
import type { Call } from '../rpc.js';
import { checkAbsolutePath } from '../translate/check.js';
import { toMilliseconds } from '../translate/time.js';

export async function checkpointContainer(
  { containerId, location, timeout }: CheckpointContainerRequest,
  { runtime, signal }: Call,
): Promise<CheckpointContainerResponse> {
  const container = findContainer(runtime, containerId);
  const request = { location: checkAbsolutePath('location', location), timeoutMs: toMilliseconds(timeout) };
  await runtime.containers.checkpoint(container.id, request, signal);
  return {};
}
