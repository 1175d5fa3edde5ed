import {
  NamespaceMode,
  type PodSandbox,
  PodSandboxState,
  type PodSandboxStatus,
} from '../../protos/gen/cri/runtime/v1/api.js';
import type { Sandbox, SandboxRequest } from '../../runtime/sandbox/types.js';
import { podClientOf } from './client-record.js';
import { fromUserNamespace } from './user-namespace.js';

/** A sandbox being made is not there yet for clients. */
export function isVisibleSandbox(sandbox: Sandbox): boolean {
  return sandbox.state.phase !== 'creating';
}

export function toCriSandboxState({ state }: Sandbox): PodSandboxState {
  return state.phase === 'ready' ? PodSandboxState.SANDBOX_READY : PodSandboxState.SANDBOX_NOTREADY;
}

/** A sandbox as ListPodSandbox shows it. */
export function toCriSandbox(sandbox: Sandbox): PodSandbox {
  const client = podClientOf(sandbox);
  return {
    id: sandbox.id,
    metadata: { ...client.metadata },
    state: toCriSandboxState(sandbox),
    createdAt: sandbox.createdAtNs,
    labels: { ...client.labels },
    annotations: { ...client.annotations },
    runtimeHandler: sandbox.request.handler,
  };
}

/** A sandbox as PodSandboxStatus shows it. */
export function toCriSandboxStatus(sandbox: Sandbox): PodSandboxStatus {
  const { network, pid, ipc } = sandbox.request.namespaces;
  const [ip = '', ...additional] = sandbox.state.phase === 'ready' ? (sandbox.network?.ips ?? []) : [];
  return {
    ...toCriSandbox(sandbox),
    network: { ip, additionalIps: additional.map((address) => ({ ip: address })) },
    linux: {
      namespaces: {
        options: {
          network: namespaceModes[network],
          pid: namespaceModes[pid],
          ipc: namespaceModes[ipc],
          targetId: '',
          usernsOptions: fromUserNamespace(sandbox.request.userNamespace),
        },
      },
    },
  };
}

const namespaceModes: Readonly<Record<SandboxRequest['namespaces']['pid'], NamespaceMode>> = {
  pod: NamespaceMode.POD,
  container: NamespaceMode.CONTAINER,
  host: NamespaceMode.NODE,
};
