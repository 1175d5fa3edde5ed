import type { ListPodSandboxRequest } from '../../protos/gen/cri/runtime/v1/api.js';
import { selectSandboxes } from '../filters.js';
import { sandboxList } from '../lists.js';
import type { Call } from '../rpc.js';

export function listPodSandbox({ filter }: ListPodSandboxRequest, { runtime }: Call): Buffer {
  return sandboxList.whole(selectSandboxes(runtime, filter));
}
