import type { RunPodSandboxRequest, RunPodSandboxResponse } from '../../protos/gen/cri/runtime/v1/api.js';
import { readHostFiles } from '../host.js';
import type { Call } from '../rpc.js';
import { toSandboxRequest } from '../translate/sandbox.js';

export async function runPodSandbox(
  { config, runtimeHandler }: RunPodSandboxRequest,
  { runtime, host, signal }: Call,
): Promise<RunPodSandboxResponse> {
  const request = toSandboxRequest(config, runtimeHandler, host, await readHostFiles());
  const sandbox = await runtime.sandboxes.run(request, signal);
  return { podSandboxId: sandbox.id };
}
