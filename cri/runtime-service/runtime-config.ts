import {
  CgroupDriver,
  type RuntimeConfigRequest,
  type RuntimeConfigResponse,
} from '../../protos/gen/cri/runtime/v1/api.js';
import type { Call } from '../rpc.js';

export function runtimeConfig(_request: RuntimeConfigRequest, { runtime }: Call): RuntimeConfigResponse {
  const driver = runtime.cgroups.name === 'systemd' ? CgroupDriver.SYSTEMD : CgroupDriver.CGROUPFS;
  return { linux: { cgroupDriver: driver } };
}
