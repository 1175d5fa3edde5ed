import type {
  UpdatePodSandboxResourcesRequest,
  UpdatePodSandboxResourcesResponse,
} from '../../protos/gen/cri/runtime/v1/api.js';
import { findSandbox } from '../find.js';
import type { Call } from '../rpc.js';
import { refuse } from '../translate/check.js';
import { toPodLimits } from '../translate/resources.js';

/** The cgroup of the pod is the kubelet's, which has set these limits there: they are kept, for the verbose status. */
export async function updatePodSandboxResources(
  { podSandboxId, overhead, resources }: UpdatePodSandboxResourcesRequest,
  { runtime, host }: Call,
): Promise<UpdatePodSandboxResourcesResponse> {
  const sandbox = findSandbox(runtime, podSandboxId);
  const limits = toPodLimits('', { overhead, resources }, host);
  if (limits === undefined) throw refuse('resources', 'is missing, and so is overhead');
  await runtime.sandboxes.update(sandbox.id, limits);
  return {};
}
