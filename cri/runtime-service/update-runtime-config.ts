import type {
  UpdateRuntimeConfigRequest,
  UpdateRuntimeConfigResponse,
} from '../../protos/gen/cri/runtime/v1/api.js';
import type { Call } from '../rpc.js';
import { toPodCidrs } from '../translate/network.js';

/** The pod range of the node becomes the pool of the built-in network. */
export async function updateRuntimeConfig(
  { runtimeConfig }: UpdateRuntimeConfigRequest,
  { runtime }: Call,
): Promise<UpdateRuntimeConfigResponse> {
  const cidrs = toPodCidrs(runtimeConfig?.networkConfig?.podCidr ?? '');
  if (cidrs !== '') await runtime.network.setPodCidr(cidrs);
  return {};
}
