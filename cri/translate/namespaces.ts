import { type NamespaceOption, NamespaceMode } from '../../protos/gen/cri/runtime/v1/api.js';
import type { SandboxRequest } from '../../runtime/sandbox/types.js';
import type { Namespace, NamespaceType } from '../../runtime/spec/types.js';
import { checkText, refuse, unknownEnum, unsupported } from './check.js';

type SandboxNamespaces = SandboxRequest['namespaces'];

/** Namespaces of a sandbox; absent options mean the pod's own. */
export function toSandboxNamespaces(options: NamespaceOption | undefined): SandboxNamespaces {
  const field = 'config.linux.security_context.namespace_options';
  refuseUserNamespace(field, options);
  return {
    network: podOrHost(`${field}.network`, options?.network ?? NamespaceMode.POD),
    ipc: podOrHost(`${field}.ipc`, options?.ipc ?? NamespaceMode.POD),
    pid: sandboxPid(`${field}.pid`, options?.pid ?? NamespaceMode.POD),
  };
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

function refuseUserNamespace(field: string, options: NamespaceOption | undefined): void {
  const userns = options?.usernsOptions;
  if (userns === undefined) return;
  if (userns.mode === NamespaceMode.POD) throw unsupported(`${field}.userns_options`, 'user namespaces are');
  if (userns.mode !== NamespaceMode.NODE) throw refuse(`${field}.userns_options.mode`, 'must be POD or NODE');
  if (userns.uids.length + userns.gids.length > 0) {
    throw refuse(`${field}.userns_options`, 'mappings need a user namespace');
  }
}

/** What a container has for itself and what it takes from its sandbox; a kind in neither list is the host's. */
export interface ContainerNamespaces {
  readonly own: readonly Namespace[];
  readonly ofSandbox: readonly NamespaceType[];
  /** Id of the container whose pid namespace it joins. */
  readonly pidTarget: string | undefined;
}

/**
 * Network and ipc are those of the sandbox in any case. The pid namespace is decided per container, except that it
 * cannot be the host's where the sandbox has its own.
 */
export function toContainerNamespaces(
  options: NamespaceOption | undefined,
  sandbox: SandboxNamespaces,
  { privileged, ownCgroupNamespace }: { readonly privileged: boolean; readonly ownCgroupNamespace: boolean },
): ContainerNamespaces {
  const field = 'config.linux.security_context.namespace_options';
  refuseUserNamespace(field, options);
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
