import type {
  RemovePodSandboxRequest,
  RemovePodSandboxResponse,
} from '../../protos/gen/cri/runtime/v1/api.js';
import type { Call } from '../rpc.js';
import { refuse } from '../translate/check.js';

/** A sandbox that is gone is removed. */
export async function removePodSandbox(
  { podSandboxId }: RemovePodSandboxRequest,
  { runtime, signal }: Call,
): Promise<RemovePodSandboxResponse> {
  if (podSandboxId === '') throw refuse('pod_sandbox_id', 'must not be empty');
  const sandbox = runtime.sandboxes.find(podSandboxId);
  if (sandbox !== undefined) await runtime.sandboxes.remove(sandbox.id, signal);
  return {};
}
