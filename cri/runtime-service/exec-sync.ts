import type { ExecSyncRequest, ExecSyncResponse } from '../../protos/gen/cri/runtime/v1/api.js';
import { findContainer } from '../find.js';
import type { Call } from '../rpc.js';
import { checkArguments } from '../translate/process.js';
import { toMilliseconds } from '../translate/time.js';

export async function execSync(
  { containerId, cmd, timeout }: ExecSyncRequest,
  { runtime, signal }: Call,
): Promise<ExecSyncResponse> {
  const container = findContainer(runtime, containerId);
  checkArguments('cmd', cmd);
  return runtime.containers.execSync(container.id, { argv: cmd, timeoutMs: toMilliseconds(timeout) }, signal);
}
