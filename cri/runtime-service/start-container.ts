import type { StartContainerRequest, StartContainerResponse } from '../../protos/gen/cri/runtime/v1/api.js';
import { findContainer } from '../find.js';
import type { Call } from '../rpc.js';

export async function startContainer(
  { containerId }: StartContainerRequest,
  { runtime, signal }: Call,
): Promise<StartContainerResponse> {
  await runtime.containers.start(findContainer(runtime, containerId).id, signal);
  return {};
}
