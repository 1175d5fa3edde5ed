import type {
  ReopenContainerLogRequest,
  ReopenContainerLogResponse,
} from '../../protos/gen/cri/runtime/v1/api.js';
import { findContainer } from '../find.js';
import type { Call } from '../rpc.js';

export async function reopenContainerLog(
  { containerId }: ReopenContainerLogRequest,
  { runtime }: Call,
): Promise<ReopenContainerLogResponse> {
  await runtime.containers.reopenLog(findContainer(runtime, containerId).id);
  return {};
}
