import type { VersionRequest, VersionResponse } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Call } from '../rpc.js';

/** The version field names the kubelet's own protocol, which has been 0.1.0 for ever. */
export function version(_request: VersionRequest, { version: runtimeVersion }: Call): VersionResponse {
  return {
    version: '0.1.0',
    runtimeName: 'podwright',
    runtimeVersion,
    runtimeApiVersion: 'v1',
  };
}
