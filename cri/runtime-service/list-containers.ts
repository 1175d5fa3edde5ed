import type { ListContainersRequest } from '../../protos/gen/cri/runtime/v1/api.js';
import { selectContainers } from '../filters.js';
import { containerList } from '../lists.js';
import type { Call } from '../rpc.js';

export function listContainers({ filter }: ListContainersRequest, { runtime }: Call): Buffer {
  return containerList.whole(selectContainers(runtime, filter));
}
