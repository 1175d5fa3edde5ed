import type {
  UpdateContainerResourcesRequest,
  UpdateContainerResourcesResponse,
} from '../../protos/gen/cri/runtime/v1/api.js';
import { findContainer } from '../find.js';
import type { Call } from '../rpc.js';
import { refuse } from '../translate/check.js';
import { toOomScoreAdj, toResources } from '../translate/resources.js';

/** Fields that are 0 or empty stay as they are. The oom score of a living process is not changed. */
export async function updateContainerResources(
  { containerId, linux }: UpdateContainerResourcesRequest,
  { runtime, host }: Call,
): Promise<UpdateContainerResourcesResponse> {
  const container = findContainer(runtime, containerId);
  toOomScoreAdj('linux', linux);
  const resources = toResources('linux', linux, host);
  if (resources === undefined) throw refuse('linux', 'is missing');
  await runtime.containers.update(container.id, resources);
  return {};
}
