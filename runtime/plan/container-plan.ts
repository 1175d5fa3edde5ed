import { RuntimeError } from '../errors.js';
import type { Process, Spec } from '../spec/types.js';
import { validateSpec } from '../spec/validate.js';
import { addCgroupJoin } from './cgroup-join.js';
import { type Draft, newDraft, takeSlot } from './draft.js';
import {
  CLONE_NEWUSER,
  MOUNT_ATTR_RDONLY,
  MS_PRIVATE,
  MS_REC,
  MS_SLAVE,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
} from './kernel.js';
import { parsePropagation } from './mount-options.js';
import { type MountTarget, ROOT_MOUNTPOINT, destinationOf, isBelow } from './mount-target.js';
import { addLateMounts, addMounts, splitProcMounts } from './mounts.js';
import { hasOwnNamespace, planNamespaces } from './namespaces.js';
import type { ContainerPlanOptions } from './options.js';
import { processSteps, stdioOwner, stdioSteps } from './process.js';
import type { Plan, PlanStep, Slot } from './steps.js';
import { launchSteps } from './launch.js';
import { refuseUnimplemented } from './unimplemented.js';
import { type IdMaps, idMapSlot, idMapSteps, idMapsOf } from './user-namespace.js';

/**
 * Compiles a container's config.json into its launch plan.
 *
 *   launcher   namespaces and cgroup opened, rootfs and bind sources as detached mounts, clone
 *   child      cgroup, namespaces, rootfs attached, mounts, devices, masks, pivot_root,
 *              a shared pid namespace (only now: nothing of the host is left to be seen through it), its /proc,
 *              read-only root, user, filter, capabilities, wait, execve
 *
 * Pure: nothing of the host is looked at. @throws InvalidArgument naming the field, Unimplemented for what cannot work yet
 */
export function compileContainerPlan(options: ContainerPlanOptions): Plan {
  const { spec } = options;
  validateSpec(spec);
  refuseUnimplemented(spec);
  const process = processOf(spec);
  if (spec.linux?.seccomp !== undefined && options.seccomp === undefined) {
    throw new RuntimeError('FailedPrecondition', 'linux.seccomp: the profile was not compiled');
  }
  const draft = newDraft();
  const cgroup = addCgroupJoin(draft, options.cgroup);
  const { cloneFlags, joins, joinPid, pause } = planNamespaces(draft, options);
  const maps = idMapsOf(spec);
  const root = addRootfs(draft, options, maps);
  const ownMaps = maps !== undefined && (cloneFlags & CLONE_NEWUSER) !== 0 ? idMapSteps(maps) : undefined;
  draft.child.push(...(ownMaps?.child ?? []), ...joins);
  const mountpoint = maps === undefined ? options.rootfsMountpoint : ROOT_MOUNTPOINT;
  attachRootfs(draft, root, mountpoint);
  const target: MountTarget = { draft, root, scratch: takeSlot(draft), pause, maps, options };
  const processOptions = { ...options, process, role: 'init' as const };

  const shared = joinPid !== undefined;
  const { now, later } = shared ? splitProcMounts(spec.mounts ?? []) : { now: spec.mounts ?? [], later: [] };
  addMounts(target, now);
  draft.child.push(...hostSettings(spec), ...restrictedPaths(target, (path) => !coveredBy(later, path)));
  draft.child.push(...draft.sealing, ...cwdSteps(process, root));
  const join = (from: string): void => {
    if (joinPid !== undefined) joinSharedPid(target, joinPid, later, from);
  };
  // A user namespace may have a procfs only while it sees one that nothing covers, which is the host's.
  if (maps !== undefined) join(mountpoint);
  draft.child.push(...pivotSteps(root, spec));
  if (maps === undefined) join('/');
  draft.child.push(
    ...stdioSteps(processOptions),
    ...readOnlyRoot(spec, root),
    ...processSteps(processOptions),
  );
  const { oomScoreAdj } = process;
  draft.parent.push(
    ...stdioOwner(process, maps),
    ...launchSteps({ cloneFlags, cgroup, oomScoreAdj, after: ownMaps?.parent }),
  );
  return { parent: draft.parent, child: draft.child };
}

function processOf({ process }: Spec): Process {
  if (process === undefined) throw new RuntimeError('InvalidArgument', 'process is missing');
  return process;
}

/**
 * The rootfs as a detached mount, its layers idmapped for a user namespace. redirect_dir, metacopy and index are off, so that the writable layer stays readable as
 * plain files. `volatile`: the layer does not outlive the boot, and an unmount must not wait until the whole file system
 * below it is synced.
 */
export function addRootfs(draft: Draft, { rootfs }: ContainerPlanOptions, maps?: IdMaps): Slot {
  const out = takeSlot(draft);
  if (rootfs.kind === 'overlay') {
    const { layersDir, lower, upper, work } = rootfs;
    const options = ['index=off', 'redirect_dir=off', 'metacopy=off', 'volatile'];
    const about = 'make the rootfs (overlay)';
    const step = { out, layersDir, lower, upper, work, options, attributes: 0, about };
    draft.parent.push(
      maps === undefined
        ? { kind: 'overlay', ...step }
        : { kind: 'idmapped-overlay', ...step, userNamespace: idMapSlot(draft, maps) },
    );
    return out;
  }
  const about = `make the rootfs (bind from ${rootfs.path})`;
  draft.parent.push(
    { kind: 'open-tree', out, path: rootfs.path, recursive: true, about },
    { kind: 'mount-setattr', slot: out, recursive: true, set: 0, clear: 0, propagation: MS_PRIVATE, about },
  );
  return out;
}

/** On a directory of the host as the child sees it, in its own mount namespace: pivot_root wants an attached mount. */
function attachRootfs(draft: Draft, root: Slot, mountpoint: string): void {
  const about = `attach the rootfs on ${mountpoint}`;
  draft.child.push(
    {
      kind: 'propagation',
      path: '/',
      flags: MS_REC | MS_SLAVE,
      about: 'leave the mount propagation of the host',
    },
    { kind: 'move-mount', slot: root, path: mountpoint, create: 'no', about },
  );
}

/** Host name and sysctls, where the namespace is the container's own to change. */
function hostSettings(spec: Spec): readonly PlanStep[] {
  const { hostname = '', domainname = '', linux } = spec;
  const ownsUts = hasOwnNamespace(spec, 'uts');
  return [
    ...(ownsUts && hostname !== ''
      ? [{ kind: 'hostname', name: hostname, about: `set hostname ${hostname}` } as const]
      : []),
    ...(ownsUts && domainname !== ''
      ? [{ kind: 'domainname', name: domainname, about: `set domainname ${domainname}` } as const]
      : []),
    ...sysctlSteps(linux?.sysctl ?? {}),
  ];
}

export function sysctlSteps(sysctls: Readonly<Record<string, string>>): readonly PlanStep[] {
  return Object.entries(sysctls).map(([key, value]) => ({
    kind: 'sysctl',
    key,
    value,
    about: `set sysctl ${key}`,
  }));
}

function coveredBy(mounts: ContainerPlanOptions['spec']['mounts'], path: string): boolean {
  return mounts?.some((mount) => isBelow(path, destinationOf(mount))) === true;
}

function restrictedPaths(
  { root, options }: MountTarget,
  include: (path: string) => boolean,
): readonly PlanStep[] {
  const { maskedPaths = [], readonlyPaths = [] } = options.spec.linux ?? {};
  return [
    ...readonlyPaths
      .filter(include)
      .map((path) => ({ kind: 'read-only', root, path, about: `make ${path} read-only` }) as const),
    ...maskedPaths
      .filter(include)
      .map((path) => ({ kind: 'mask', root, path, about: `mask ${path}` }) as const),
  ];
}

/** Init's working directory is made if the image has none, by root and before the rootfs may become read-only. */
function cwdSteps({ cwd }: Process, root: Slot): readonly PlanStep[] {
  if (['/', '/proc', '/sys', '/dev'].includes(cwd) || isBelow(cwd, '/proc')) return [];
  return [
    { kind: 'mkdir', root, path: cwd, mode: 0o755, uid: 0, gid: 0, about: `make working directory ${cwd}` },
  ];
}

function pivotSteps(slot: Slot, { linux }: Spec): readonly PlanStep[] {
  const word = linux?.rootfsPropagation ?? '';
  const pivot: PlanStep = { kind: 'pivot-root', slot, mode: 'pivot', about: 'enter the rootfs' };
  const propagation = word === '' ? undefined : parsePropagation(word);
  if (propagation === undefined || propagation.flag === MS_PRIVATE) return [pivot];
  const flags = propagation.flag | (propagation.recursive ? MS_REC : 0);
  return [pivot, { kind: 'propagation', path: '/', flags, about: `make the rootfs ${word}` }];
}

/**
 * Joining closes the descriptors, so the root is opened anew: it is the process' own root by now, but in a user namespace,
 * where the process comes with the host's mounts still in sight. Nobody in there can look through it: it is not dumpable,
 * and its memory belongs to the host's user namespace, in which they have no rights.
 */
function joinSharedPid(
  target: MountTarget,
  slot: Slot,
  later: readonly NonNullable<Spec['mounts']>[number][],
  from: string,
): void {
  const { draft, root } = target;
  draft.child.push({ kind: 'join-pid', slot, about: 'join the pid namespace of others' });
  draft.child.push({ kind: 'open', out: root, path: from, flags: O_PATH | O_DIRECTORY | O_CLOEXEC });
  addLateMounts(target, later);
  draft.child.push(...restrictedPaths(target, (path) => coveredBy(later, path)));
}

function readOnlyRoot({ root }: Spec, slot: Slot): readonly PlanStep[] {
  if (root?.readonly !== true) return [];
  const about = 'make the rootfs read-only';
  return [
    {
      kind: 'mount-setattr',
      slot,
      recursive: false,
      set: MOUNT_ATTR_RDONLY,
      clear: 0,
      propagation: 0,
      about,
    },
  ];
}
