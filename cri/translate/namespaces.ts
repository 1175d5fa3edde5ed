import { type NamespaceOption, NamespaceMode } from '../../protos/gen/cri/runtime/v1/api.js';
import type { SandboxRequest, UserNamespace } from '../../runtime/sandbox/types.js';
import type { Namespace, NamespaceType } from '../../runtime/spec/types.js';
import { checkText, refuse, unknownEnum } from './check.js';
import { checkSameUserNamespace, toUserNamespace } from './user-namespace.js';

type SandboxNamespaces = SandboxRequest['namespaces'];

/** Namespaces of a sandbox; absent options mean the pod's own. */
export function toSandboxNamespaces(options: NamespaceOption | undefined): SandboxNamespaces {
  const field = 'config.linux.security_context.namespace_options';
  const namespaces = {
    network: podOrHost(`${field}.network`, options?.network ?? NamespaceMode.POD),
    ipc: podOrHost(`${field}.ipc`, options?.ipc ?? NamespaceMode.POD),
    pid: sandboxPid(`${field}.pid`, options?.pid ?? NamespaceMode.POD),
  };
  if (toUserNamespace(field, options) !== undefined) refuseHostNamespaces(field, namespaces);
  return namespaces;
}

/** A procfs or a message queue file system of the host's cannot be mounted by the root of a user namespace. */
function refuseHostNamespaces(field: string, { pid, ipc }: SandboxNamespaces): void {
  for (const [name, mode] of Object.entries({ pid, ipc })) {
    if (mode === 'host') throw refuse(`${field}.${name}`, 'cannot be NODE in a pod with a user namespace');
  }
}

function podOrHost(field: string, mode: NamespaceMode): 'pod' | 'host' {
  switch (mode) {
    case NamespaceMode.POD:
      return 'pod';
    case NamespaceMode.NODE:
      return 'host';
    case NamespaceMode.CONTAINER:
    case NamespaceMode.TARGET:
      throw refuse(field, `must be POD or NODE, not ${NamespaceMode[mode]}`);
    default:
      throw unknownEnum(field, mode);
  }
}

function sandboxPid(field: string, mode: NamespaceMode): SandboxNamespaces['pid'] {
  switch (mode) {
    case NamespaceMode.CONTAINER:
    case NamespaceMode.TARGET: // of an ephemeral container; the sandbox itself has none to share then
      return 'container';
    default:
      return podOrHost(field, mode);
  }
}

/** What a container has for itself and what it takes from its sandbox; a kind in neither list is the host's. */
export interface ContainerNamespaces {
  readonly own: readonly Namespace[];
  readonly ofSandbox: readonly NamespaceType[];
  /** Id of the container whose pid namespace it joins. */
  readonly pidTarget: string | undefined;
}

export interface ContainerSurroundings {
  readonly privileged: boolean;
  readonly ownCgroupNamespace: boolean;
  /** The sandbox'; absent: the host's. */
  readonly userNamespace?: UserNamespace | undefined;
}

/**
 * Network, ipc and user are those of the sandbox in any case. The pid namespace is decided per container, except that it
 * cannot be the host's where the sandbox has its own.
 */
export function toContainerNamespaces(
  options: NamespaceOption | undefined,
  sandbox: SandboxNamespaces,
  { privileged, ownCgroupNamespace, userNamespace }: ContainerSurroundings,
): ContainerNamespaces {
  const field = 'config.linux.security_context.namespace_options';
  checkSameUserNamespace(field, options, userNamespace);
  checkAgainstSandbox(`${field}.network`, options?.network, sandbox.network);
  checkAgainstSandbox(`${field}.ipc`, options?.ipc, sandbox.ipc);
  const pid = containerPid(`${field}.pid`, options?.pid ?? NamespaceMode.POD, sandbox.pid);
  return {
    own: [
      { type: 'mount' },
      ...(pid === 'container' ? [{ type: 'pid' } as const] : []),
      ...(ownCgroupNamespace && !privileged ? [{ type: 'cgroup' } as const] : []),
    ],
    ofSandbox: [
      ...(userNamespace === undefined ? [] : (['user'] as const)),
      ...(sandbox.network === 'pod' ? (['network', 'uts'] as const) : []),
      ...(sandbox.ipc === 'pod' ? (['ipc'] as const) : []),
      ...(pid === 'pod' ? (['pid'] as const) : []),
    ],
    pidTarget: pid === 'target' ? checkText(`${field}.target_id`, options?.targetId ?? '') : undefined,
  };
}

function checkAgainstSandbox(field: string, mode: NamespaceMode | undefined, sandbox: 'pod' | 'host'): void {
  if (mode === undefined) return;
  if (podOrHost(field, mode) === 'host' && sandbox === 'pod')
    throw refuse(field, 'NODE needs a sandbox with NODE');
}

function containerPid(
  field: string,
  mode: NamespaceMode,
  sandbox: SandboxNamespaces['pid'],
): SandboxNamespaces['pid'] | 'target' {
  switch (mode) {
    case NamespaceMode.POD:
      return sandbox;
    case NamespaceMode.CONTAINER:
      return 'container';
    case NamespaceMode.NODE:
      if (sandbox !== 'host') throw refuse(field, 'NODE needs a sandbox with NODE');
      return 'host';
    case NamespaceMode.TARGET:
      return 'target';
    default:
      throw unknownEnum(field, mode);
  }
}
