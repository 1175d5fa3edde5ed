import type { StopPodSandboxRequest, StopPodSandboxResponse } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Call } from '../rpc.js';
import { refuse } from '../translate/check.js';

/** A sandbox that is gone is stopped. */
export async function stopPodSandbox(
  { podSandboxId }: StopPodSandboxRequest,
  { runtime, signal }: Call,
): Promise<StopPodSandboxResponse> {
  if (podSandboxId === '') throw refuse('pod_sandbox_id', 'must not be empty');
  const sandbox = runtime.sandboxes.find(podSandboxId);
  if (sandbox !== undefined) await runtime.sandboxes.stop(sandbox.id, signal);
  return {};
}
