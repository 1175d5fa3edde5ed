import type { ContainerStatusRequest, ContainerStatusResponse } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Container } from '../../runtime/container/types.js';
import { imageOf } from '../container-image.js';
import { findContainer } from '../find.js';
import { lifeOf } from '../journal/life.js';
import type { Call } from '../rpc.js';
import type { Runtime } from '../../runtime/index.js';
import { toCriContainerStatus } from '../translate/container-answer.js';
import { toInfo } from '../verbose.js';

export function containerStatus(
  { containerId, verbose }: ContainerStatusRequest,
  { runtime, journal }: Call,
): ContainerStatusResponse {
  const container = findContainer(runtime, containerId);
  return {
    status: toCriContainerStatus(container, imageOf(runtime, container)),
    info: verbose
      ? toInfo({ ...describe(container, runtime), life: lifeOf(container.id, journal, runtime) })
      : {},
  };
}

function describe(container: Container, runtime: Runtime): Readonly<Record<string, unknown>> {
  const { id, state, request, spec, cgroupPath, timingsMs } = container;
  return {
    sandboxID: request.sandboxId,
    pid: 'init' in state ? state.init.pid : 0,
    state,
    name: request.name,
    config: request.client,
    image: request.image,
    stdio: request.stdio,
    cgroupPath,
    timingsMs,
    runtimeSpec: spec,
    plan: runtime.containers.describePlan(id)?.split('\n'),
  };
}
