import path from 'node:path';
import type { Sandbox } from '../sandbox/types.js';
import type { Mount, Namespace, NamespaceType, Spec } from '../spec/types.js';
import type { ContainerRequest } from './types.js';

/** What the runtime knows of a container that is being made. */
export interface Surroundings {
  readonly sandbox: Sandbox;
  /** Parent of the directories of the image's volumes. */
  readonly volumesDir: string;
  readonly cgroupPath: string;
  /** The process whose pid namespace it joins. */
  readonly pidTarget: number | undefined;
}

/**
 * Adds to the creator's spec what only the runtime knows: the sandbox' namespaces, its hosts, hostname and resolv.conf
 * files, the directories of image volumes (idmapped where the pod has a user namespace), the cgroup. A destination that the creator mounts itself is left alone (the
 * kubelet brings its own /etc/hosts).
 */
export function completeSpec(
  request: ContainerRequest,
  { sandbox, volumesDir, cgroupPath, pidTarget }: Surroundings,
): Spec {
  const { spec } = request;
  const mounts = spec.mounts ?? [];
  const taken = new Set(mounts.map((mount) => path.posix.normalize(mount.destination)));
  const { userNamespace } = sandbox.request;
  const added = [
    ...volumeMounts(request.volumes, volumesDir),
    ...fileMounts(sandbox, spec.root?.readonly ?? false),
  ].map((mount) => ({ ...mount, ...userNamespace }));
  return {
    ...spec,
    mounts: [...mounts, ...added.filter((mount) => !taken.has(mount.destination))],
    linux: {
      ...spec.linux,
      ...userNamespace,
      cgroupsPath: cgroupPath,
      namespaces: [
        ...(spec.linux?.namespaces ?? []),
        ...sandboxNamespaces(request, sandbox),
        ...targetNamespace(pidTarget),
      ],
    },
  };
}

function fileMounts(sandbox: Sandbox, readonlyRoot: boolean): readonly Mount[] {
  const options = ['rbind', 'rprivate', readonlyRoot ? 'ro' : 'rw'];
  return [
    { destination: '/etc/hosts', type: 'bind', source: sandbox.files.hosts, options },
    { destination: '/etc/hostname', type: 'bind', source: sandbox.files.hostname, options },
    { destination: '/etc/resolv.conf', type: 'bind', source: sandbox.files.resolvConf, options },
  ];
}

function volumeMounts(volumes: readonly string[], volumesDir: string): readonly Mount[] {
  return volumes.map((destination, index) => ({
    destination: path.posix.normalize(destination),
    type: 'bind',
    source: path.join(volumesDir, String(index)),
    options: ['rbind', 'rprivate', 'rw'],
  }));
}

const procName: Readonly<Partial<Record<NamespaceType, string>>> = { network: 'net', mount: 'mnt' };

/** The pause process' namespaces, by path as `inspect` shows them. */
function sandboxNamespaces(request: ContainerRequest, sandbox: Sandbox): readonly Namespace[] {
  if (sandbox.state.phase !== 'ready') return [];
  const { pid } = sandbox.state.pause;
  return request.sandboxNamespaces.map((type) => ({
    type,
    path: `/proc/${pid}/ns/${procName[type] ?? type}`,
  }));
}

function targetNamespace(pid: number | undefined): readonly Namespace[] {
  return pid === undefined ? [] : [{ type: 'pid', path: `/proc/${pid}/ns/pid` }];
}

/** Host path of the log file. */
export function logPathOf({ log }: ContainerRequest): string | undefined {
  return log === undefined ? undefined : path.join(log.directory, log.path);
}
