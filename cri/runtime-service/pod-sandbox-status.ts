import type {
  PodSandboxStatusRequest,
  PodSandboxStatusResponse,
} from '../../protos/gen/cri/runtime/v1/api.js';
import { nowNs } from '../../runtime/base/clock.js';
import type { Sandbox } from '../../runtime/sandbox/types.js';
import { findSandbox } from '../find.js';
import { containerStatusesOf } from '../pod-containers.js';
import { lifeOf } from '../journal/life.js';
import type { Call } from '../rpc.js';
import { fromResources } from '../translate/resources.js';
import { toCriSandboxStatus } from '../translate/sandbox-answer.js';
import { toInfo } from '../verbose.js';

export function podSandboxStatus(
  { podSandboxId, verbose }: PodSandboxStatusRequest,
  { runtime, journal }: Call,
): PodSandboxStatusResponse {
  const sandbox = findSandbox(runtime, podSandboxId);
  return {
    status: toCriSandboxStatus(sandbox),
    info: verbose ? toInfo({ ...describe(sandbox), life: lifeOf(sandbox.id, journal, runtime) }) : {},
    containersStatuses: containerStatusesOf(sandbox.id, runtime),
    timestamp: nowNs(),
  };
}

function describe(sandbox: Sandbox): Readonly<Record<string, unknown>> {
  const { state, request, network, netnsPath, cgroupPath, timingsMs, files } = sandbox;
  const { overhead, resources } = sandbox.podLimits ?? request.podLimits ?? {};
  return {
    pid: state.phase === 'ready' ? state.pause.pid : 0,
    state,
    request,
    network,
    netnsPath,
    cgroupPath,
    overhead: overhead && fromResources(overhead, undefined),
    resources: resources && fromResources(resources, undefined),
    files,
    timingsMs,
  };
}
