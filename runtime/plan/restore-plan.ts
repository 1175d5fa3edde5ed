import { RuntimeError } from '../errors.js';
import type { Mount, NamespaceType, Spec } from '../spec/types.js';
import { validateSpec } from '../spec/validate.js';
import { addCgroupJoin } from './cgroup-join.js';
import { cgroupMountSources } from './cgroup-mount.js';
import { addRootfs } from './container-plan.js';
import { type Draft, newDraft, takeSlot } from './draft.js';
import { CLONE_NEWCGROUP, CLONE_NEWNS, MS_PRIVATE, MS_REC, O_CLOEXEC } from './kernel.js';
import { launchSteps } from './launch.js';
import { destinationOf } from './mount-target.js';
import type { ContainerPlanOptions } from './options.js';
import { type Plan, slots } from './steps.js';

export interface RestorePlanOptions {
  readonly container: ContainerPlanOptions;
  /** An existing host directory on which the sandbox' /dev/shm is attached, for CRIU to take it from. */
  readonly shmMountpoint: string;
  /** CRIU, which gets the first passed descriptor as its socket. */
  readonly program: string;
}

/** A mount that CRIU takes from the host: the mount point in the container, and what it becomes. */
export interface ExternalMount {
  readonly mountpoint: string;
  readonly source: string;
}

/** A namespace of the sandbox, and its descriptor in CRIU. */
export interface JoinedNamespace {
  readonly type: 'network' | 'ipc' | 'uts';
  readonly fd: number;
}

export interface RestorePlan {
  readonly plan: Plan;
  readonly mounts: readonly ExternalMount[];
  readonly namespaces: readonly JoinedNamespace[];
}

/** CRIU's socket; the namespaces follow. */
const CRIU_SOCKET_FD = 3;

const joinable = [
  ['network', 'net'],
  ['ipc', 'ipc'],
  ['uts', 'uts'],
] as const;

const program = { path: 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' };

/**
 * Compiles what runs in the place of the command when a container is restored: CRIU, in a mount namespace of its own in
 * which the new rootfs and the sandbox' /dev/shm are attached, inside the new container's cgroups, where the processes
 * that it makes stay. What of the host they get is said here, by the new container's spec alone.
 *
 * @throws Unimplemented for what cannot be restored yet
 */
export function compileRestorePlan({
  container,
  shmMountpoint,
  program: criu,
}: RestorePlanOptions): RestorePlan {
  const { spec, sandbox, rootfsMountpoint } = container;
  validateSpec(spec);
  refuseUnrestorable(container);
  const draft = newDraft();
  const cgroup = addCgroupJoin(draft, container.cgroup);
  addCgroupNamespace(draft, spec);
  const namespaces = openNamespaces(draft, container);
  const root = addRootfs(draft, container);
  draft.child.push(
    {
      kind: 'propagation',
      path: '/',
      flags: MS_REC | MS_PRIVATE,
      about: 'leave the mount propagation of the host',
    },
    { kind: 'move-mount', slot: root, path: rootfsMountpoint, create: 'no', about: 'attach the rootfs' },
  );
  if (takesSharedMemory(container)) attachSharedMemory(draft, container, shmMountpoint);
  draft.child.push(
    { kind: 'setsid' },
    { kind: 'stdio', uid: 0, gid: 0, about: 'set up standard input and output' },
    {
      kind: 'exec',
      preserve: 1 + namespaces.length,
      argv: [criu, 'swrk', String(CRIU_SOCKET_FD)],
      environment: [program.path],
      about: `exec ${criu}`,
    },
  );
  draft.parent.push(...launchSteps({ cloneFlags: CLONE_NEWNS, cgroup, oomScoreAdj: undefined }));
  const shm = sandbox?.shm === 'host' ? '/dev/shm' : takesSharedMemory(container) ? shmMountpoint : undefined;
  return {
    plan: { parent: draft.parent, child: draft.child },
    mounts: externalMounts(container, shm),
    namespaces,
  };
}

function refuseUnrestorable({ spec, sandbox }: ContainerPlanOptions): void {
  const refused = [
    sandbox?.sharedPid === true && 'a shared pid namespace',
    namespaceOf(spec, 'pid')?.path !== undefined && 'a joined pid namespace',
    namespaceOf(spec, 'pid') === undefined && "the host's pid namespace",
    spec.process?.terminal === true && 'a terminal',
    spec.mounts?.some(({ type }) => type === 'image') === true && 'an image volume',
    namespaceOf(spec, 'user') !== undefined && 'a user namespace',
  ].find((word) => word !== false);
  if (refused !== undefined)
    throw new RuntimeError('Unimplemented', `restore of a container with ${refused}`);
}

function namespaceOf({ linux }: Spec, type: NamespaceType) {
  return linux?.namespaces?.find((namespace) => namespace.type === type);
}

/** CRIU leaves cgroups alone, so the processes that it makes have its own cgroup namespace. */
function addCgroupNamespace(draft: Draft, spec: Spec): void {
  const namespace = namespaceOf(spec, 'cgroup');
  if (namespace === undefined) return;
  if (namespace.path !== undefined)
    throw new RuntimeError('Unimplemented', 'restore of a container with a joined cgroup namespace');
  draft.child.push({ kind: 'unshare', flags: CLONE_NEWCGROUP, about: 'make a cgroup namespace' });
}

/** The files first: if then the process is still the sandbox', they were its. */
function openNamespaces(draft: Draft, { spec, sandbox }: ContainerPlanOptions): readonly JoinedNamespace[] {
  const found: JoinedNamespace[] = [];
  for (const [type, name] of joinable) {
    const path = namespaceOf(spec, type)?.path;
    if (path === undefined || path === '') continue;
    const index = found.length + 1;
    found.push({ type, fd: CRIU_SOCKET_FD + index });
    const about = `find the ${name} namespace ${path}`;
    draft.parent.push({ kind: 'open', out: slots.passed + index, path, flags: O_CLOEXEC, about });
  }
  if (sandbox === undefined) return found;
  draft.parent.push({
    kind: 'open-pid',
    out: takeSlot(draft),
    pid: sandbox.pid,
    startTime: BigInt(sandbox.startTime),
    about: `find the sandbox' process ${sandbox.pid}`,
  });
  return found;
}

const SHM = '/dev/shm';

function takesSharedMemory({ spec, sandbox }: ContainerPlanOptions): boolean {
  return sandbox?.shm === 'pause' && !(spec.mounts ?? []).some((mount) => destinationOf(mount) === SHM);
}

function attachSharedMemory(draft: Draft, { sandbox }: ContainerPlanOptions, shmMountpoint: string): void {
  if (sandbox === undefined) return;
  const about = "attach the sandbox' /dev/shm";
  const pidfd = takeSlot(draft);
  const slot = takeSlot(draft);
  draft.parent.push(
    { kind: 'open-pid', out: pidfd, pid: sandbox.pid, startTime: BigInt(sandbox.startTime), about },
    { kind: 'open-tree-in', out: slot, pidfd, path: SHM, about },
  );
  draft.child.push({ kind: 'move-mount', slot, path: shmMountpoint, create: 'no', about });
}

/** In CRIU a later one of the same mount point replaces the earlier. */
function externalMounts(container: ContainerPlanOptions, shm: string | undefined): readonly ExternalMount[] {
  const { spec } = container;
  const found = new Map<string, string>();
  for (const mountpoint of spec.linux?.maskedPaths ?? []) found.set(mountpoint, '/dev/null');
  if (shm !== undefined) found.set(SHM, shm);
  for (const mount of spec.mounts ?? []) {
    if (isBind(mount)) found.set(destinationOf(mount), mount.source ?? '');
    if (mount.type !== 'cgroup') continue;
    for (const { name, directory } of cgroupMountSources(container))
      found.set(name === '' ? destinationOf(mount) : `${destinationOf(mount)}/${name}`, directory);
  }
  return [...found].map(([mountpoint, source]) => ({ mountpoint, source }));
}

function isBind({ type, options }: Mount): boolean {
  return type === 'bind' || (options ?? []).some((word) => word === 'bind' || word === 'rbind');
}
