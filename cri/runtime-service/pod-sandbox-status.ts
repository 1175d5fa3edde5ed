import type {
  PodSandboxStatusRequest,
  PodSandboxStatusResponse,
} from '../../protos/gen/cri/runtime/v1/api.js';
import { nowNs } from '../../runtime/base/clock.js';
import type { Sandbox } from '../../runtime/sandbox/types.js';
import { findSandbox } from '../find.js';
import { containerStatusesOf } from '../pod-containers.js';
import type { Call } from '../rpc.js';
import { toCriSandboxStatus } from '../translate/sandbox-answer.js';
import { toInfo } from '../verbose.js';

export function podSandboxStatus(
  { podSandboxId, verbose }: PodSandboxStatusRequest,
  { runtime }: Call,
): PodSandboxStatusResponse {
  const sandbox = findSandbox(runtime, podSandboxId);
  return {
    status: toCriSandboxStatus(sandbox),
    info: verbose ? toInfo(describe(sandbox)) : {},
    containersStatuses: containerStatusesOf(sandbox.id, runtime),
    timestamp: nowNs(),
  };
}

function describe(sandbox: Sandbox): Readonly<Record<string, unknown>> {
  const { state, request, network, netnsPath, cgroupPath, timingsMs, files } = sandbox;
  return {
    pid: state.phase === 'ready' ? state.pause.pid : 0,
    state,
    request,
    network,
    netnsPath,
    cgroupPath,
    files,
    timingsMs,
  };
}
