import type {
  LinuxContainerResources,
  UpdateContainerResourcesRequest,
  UpdateContainerResourcesResponse,
} from '../../protos/gen/cri/runtime/v1/api.js';
import type { Container } from '../../runtime/container/types.js';
import { findContainer } from '../find.js';
import type { Call } from '../rpc.js';
import { refuse } from '../translate/check.js';
import { toOomScoreAdj, toResources } from '../translate/resources.js';

/**
 * Fields that are 0 or empty stay as they are. The oom score of a living process is not changed, as with other runtimes:
 * the kubelet sends a new one with every resize, and the status goes on telling the one that is in effect.
 */
export async function updateContainerResources(
  { containerId, linux }: UpdateContainerResourcesRequest,
  { runtime, host }: Call,
): Promise<UpdateContainerResourcesResponse> {
  const container = findContainer(runtime, containerId);
  toOomScoreAdj('linux', linux);
  const resources = toResources('linux', withMemoryLimit(linux, container), host);
  if (resources === undefined) throw refuse('linux', 'is missing');
  await runtime.containers.update(container.id, resources);
  return {};
}

/** Swap may change alone: it is counted from the memory limit there is. */
function withMemoryLimit(
  linux: LinuxContainerResources | undefined,
  { spec }: Container,
): LinuxContainerResources | undefined {
  const limit = spec.linux?.resources?.memory?.limit ?? 0;
  const isAlone = linux?.memoryLimitInBytes === 0n && linux.memorySwapLimitInBytes !== 0n;
  return isAlone ? { ...linux, memoryLimitInBytes: BigInt(limit) } : linux;
}
