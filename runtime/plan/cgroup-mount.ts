import path from 'node:path';
import { RuntimeError } from '../errors.js';
import type { Mount } from '../spec/types.js';
import { takeSlot } from './draft.js';
import { MOUNT_ATTR_RDONLY, MS_PRIVATE } from './kernel.js';
import type { MountOptions } from './mount-options.js';
import { type MountTarget, destinationOf } from './mount-target.js';
import { hasOwnNamespace } from './namespaces.js';
import type { PlanStep, Slot } from './steps.js';
import { hostIdOf } from './user-namespace.js';

/**
 * A mount of type cgroup: the container's own part of every hierarchy, never more.
 *
 * With a cgroup namespace the kernel shows that part by itself. Without one, the container's directories are bound. On v1
 * and hybrid hosts the hierarchies lie below a small tmpfs under the host's names, with a link per controller where
 * several share one ("cpu" → "cpu,cpuacct").
 */
export function addCgroupMount(target: MountTarget, mount: Mount, options: MountOptions): void {
  const { v1TasksPaths, unifiedPath } = target.options.cgroup;
  if (v1TasksPaths.length > 0) return addHierarchies(target, mount, options);
  if (unifiedPath === undefined) {
    throw new RuntimeError('FailedPrecondition', `mount ${mount.destination}: the container has no cgroup`);
  }
  addUnified(target, mount, options, unifiedPath);
}

function addUnified(target: MountTarget, mount: Mount, options: MountOptions, directory: string): void {
  const { draft, root } = target;
  const about = `mount ${mount.destination} (cgroup2)`;
  const slot = takeSlot(draft);
  openHierarchy(target, { slot, directory, type: 'cgroup2', options: [] }, about);
  if (((options.own.set | options.recursive.set) & MOUNT_ATTR_RDONLY) === 0) delegate(target, directory);
  draft.child.push({
    kind: 'move-mount',
    slot,
    root,
    path: destinationOf(mount),
    create: 'directory',
    about,
  });
  draft.child.push(restriction(slot, options, about));
}

/** kernel doc cgroup-v2.rst, "Model of Delegation": what a cgroup's new owner must be able to write, and no limit. */
const delegated: readonly string[] = ['', '/cgroup.procs', '/cgroup.subtree_control', '/cgroup.threads'];

/** The root of a user namespace may divide the container's cgroup where it sees it writable, and sees nothing above. */
function delegate({ draft, maps, options }: MountTarget, directory: string): void {
  if (maps === undefined || !hasOwnNamespace(options.spec, 'cgroup')) return;
  const uid = hostIdOf(maps.uidMappings, 0) ?? 0;
  const gid = hostIdOf(maps.gidMappings, 0) ?? 0;
  const about = 'give the cgroup to the root of the user namespace';
  for (const name of delegated)
    draft.parent.push({ kind: 'chown', path: `${directory}${name}`, uid, gid, about });
}

function addHierarchies(target: MountTarget, mount: Mount, options: MountOptions): void {
  const { draft, root } = target;
  const about = `mount ${mount.destination} (cgroup)`;
  const top = takeSlot(draft);
  const source = 'cgroup';
  draft.child.push(
    {
      kind: 'fs-mount',
      out: top,
      type: 'tmpfs',
      source,
      options: ['mode=755', 'size=64k'],
      attributes: 0,
      about,
    },
    { kind: 'move-mount', slot: top, root, path: destinationOf(mount), create: 'directory', about },
  );
  for (const hierarchy of hierarchiesOf(target)) {
    const { name, controllers } = hierarchy;
    const slot = takeSlot(draft);
    openHierarchy(target, { ...hierarchy, slot }, about);
    draft.child.push({ kind: 'move-mount', slot, root: top, path: `/${name}`, create: 'directory', about });
    if (!name.includes(',')) continue;
    for (const controller of controllers) {
      draft.child.push({ kind: 'symlink', root: top, path: `/${controller}`, target: name, about });
    }
  }
  draft.child.push(restriction(top, options, about));
}

/** One call for the tmpfs and all hierarchies in it; copies of the host's mounts stop being their peers here. */
function restriction(slot: Slot, { own, recursive }: MountOptions, about: string): PlanStep {
  const set = own.set | recursive.set;
  const clear = (own.clear | recursive.clear) & ~set & ~MOUNT_ATTR_RDONLY;
  return { kind: 'mount-setattr', slot, recursive: true, set, clear, propagation: MS_PRIVATE, about };
}

/** What a mount of type cgroup consists of: host directories by their name below the mount point, "" for itself. */
export function cgroupMountSources(
  options: MountTarget['options'],
): readonly { readonly name: string; readonly directory: string }[] {
  const { v1TasksPaths, unifiedPath } = options.cgroup;
  if (v1TasksPaths.length > 0) return hierarchiesOf({ options });
  return unifiedPath === undefined ? [] : [{ name: '', directory: unifiedPath }];
}

interface Hierarchy {
  readonly name: string;
  readonly controllers: readonly string[];
  readonly directory: string;
  readonly type: 'cgroup' | 'cgroup2';
  readonly options: readonly string[];
}

function hierarchiesOf({ options }: Pick<MountTarget, 'options'>): readonly Hierarchy[] {
  const { directories, unifiedPath } = options.cgroup;
  const controllersOf = new Map<string, string[]>();
  for (const [controller, directory] of directories) {
    if (controller === '') continue;
    controllersOf.set(directory, [...(controllersOf.get(directory) ?? []), controller]);
  }
  const suffix = options.spec.linux?.cgroupsPath ?? '';
  const v1 = [...controllersOf].map(([directory, controllers]): Hierarchy => {
    const name = directory.endsWith(suffix)
      ? path.basename(directory.slice(0, -suffix.length || undefined))
      : '';
    return {
      name: name === '' || name.includes('=') ? controllers.join(',').replace('name=', '') : name,
      controllers,
      directory,
      type: 'cgroup',
      options: controllers.some((controller) => controller.includes('='))
        ? ['none', ...controllers]
        : controllers,
    };
  });
  if (unifiedPath === undefined) return v1;
  return [...v1, { name: 'unified', controllers: [], directory: unifiedPath, type: 'cgroup2', options: [] }];
}

function openHierarchy(
  { draft, options }: MountTarget,
  hierarchy: Pick<Hierarchy, 'directory' | 'type' | 'options'> & { readonly slot: Slot },
  about: string,
): void {
  const { slot, directory, type } = hierarchy;
  if (hasOwnNamespace(options.spec, 'cgroup')) {
    const step = { kind: 'fs-mount', out: slot, type, source: 'cgroup', options: hierarchy.options } as const;
    draft.child.push({ ...step, attributes: 0, about });
  } else {
    draft.parent.push({ kind: 'open-tree', out: slot, path: directory, recursive: false, about });
  }
}
