import { RuntimeError } from '../errors.js';
import type { Mount } from '../spec/types.js';
import { addCgroupMount } from './cgroup-mount.js';
import { addDevices } from './devices.js';
import { type Draft, takeSlot } from './draft.js';
import { MOUNT_ATTR_RDONLY, MS_PRIVATE, MS_SLAVE } from './kernel.js';
import { type MountOptions, changesNothing, parseMountOptions } from './mount-options.js';
import { type MountTarget, destinationOf, isBelow } from './mount-target.js';
import type { PlanStep, Slot } from './steps.js';
import { hostIdOf, idMapSlot } from './user-namespace.js';

/**
 * Attaches the spec's mounts in their order, the sandbox' /dev/shm among them, and makes the devices as soon as /dev is
 * there. Sources on the host are opened by the launcher before the child exists; file systems are made by the child, in
 * its namespaces.
 */
export function addMounts(target: MountTarget, mounts: readonly Mount[]): void {
  const shared = withSharedMemory(target, mounts);
  const devAt = shared.findLastIndex((mount) => destinationOf(mount) === '/dev');
  if (devAt < 0) addDevices(target, target.root, '/dev');
  shared.forEach((mount, index) => addMount(target, mount, index === devAt));
}

/** Whether the mount shows processes, or lies on one that does: in a shared pid namespace those come after joining it. */
export function splitProcMounts(mounts: readonly Mount[]): {
  readonly now: readonly Mount[];
  readonly later: readonly Mount[];
} {
  const proc = mounts.filter((mount) => mount.type === 'proc').map(destinationOf);
  const isLater = (mount: Mount) => proc.some((destination) => isBelow(destinationOf(mount), destination));
  return { now: mounts.filter((mount) => !isLater(mount)), later: mounts.filter(isLater) };
}

/** Attaches the mounts that had to wait for the pid namespace. */
export function addLateMounts(target: MountTarget, mounts: readonly Mount[]): void {
  for (const mount of mounts) {
    // The descriptors of the host are gone by then.
    if (isBind(mount) || mount.type === 'image') {
      throw new RuntimeError(
        'Unimplemented',
        `mount ${mount.destination}: a volume below /proc in a shared pid namespace`,
      );
    }
    addMount(target, mount, false);
  }
}

function isBind(mount: Mount): boolean {
  return mount.type === 'bind' || mount.options?.some((word) => word === 'bind' || word === 'rbind') === true;
}

const SHM = '/dev/shm';

function withSharedMemory(target: MountTarget, mounts: readonly Mount[]): readonly Mount[] {
  const shm = target.options.sandbox?.shm ?? 'none';
  if (shm === 'none' || mounts.some((mount) => destinationOf(mount) === SHM)) return mounts;
  const after = mounts.findLastIndex((mount) => isBelow('/dev', destinationOf(mount))) + 1;
  const source = shm === 'host' ? SHM : pauseShm;
  const mount: Mount = {
    destination: SHM,
    type: 'bind',
    source,
    options: ['bind', 'private', 'nosuid', 'nodev', 'noexec'],
  };
  return [...mounts.slice(0, after), mount, ...mounts.slice(after)];
}

/** Stands for the /dev/shm in the pause process' mount namespace; no host path can be empty. */
const pauseShm = '';

function addMount(target: MountTarget, mount: Mount, isDev: boolean): void {
  const options = parseMountOptions(mount.options ?? []);
  refuseUnsupported(mount, options);
  if (isBind(mount)) return addBind(target, mount, options);
  if (mount.type === 'cgroup') return addCgroupMount(target, mount, options);
  if (mount.type === 'image') return addImage(target, mount, options);
  addFileSystem(target, mount, options, isDev);
}

function refuseUnsupported(mount: Mount, options: MountOptions): void {
  const refused = [
    !isBind(mount) && options.idmap !== 'no' && options.idmap,
    !isBind(mount) && (mount.uidMappings?.length ?? 0) > 0 && 'uidMappings',
    !isBind(mount) && (mount.gidMappings?.length ?? 0) > 0 && 'gidMappings',
    options.remount && !isBind(mount) && 'remount',
  ].find((word) => word !== false);
  if (refused !== undefined) {
    throw new RuntimeError('Unimplemented', `mount ${mount.destination}: ${refused}`);
  }
}

function addBind(target: MountTarget, mount: Mount, options: MountOptions): void {
  const { draft, root } = target;
  const [unknown] = options.data;
  if (unknown !== undefined) {
    throw new RuntimeError('InvalidArgument', `mount ${mount.destination}: unknown option ${unknown}`);
  }
  const slot = takeSlot(draft);
  const source = mount.source ?? '';
  const about = `mount ${mount.destination} (bind from ${source === pauseShm ? "the sandbox' /dev/shm" : source})`;
  draft.parent.push(
    source === pauseShm
      ? { kind: 'open-tree-in', out: slot, pidfd: pauseOf(target), path: SHM, about }
      : { kind: 'open-tree', out: slot, path: source, recursive: options.bind === 'rbind', about },
  );
  draft.parent.push(...idMapAttribute(target, mount, { slot, options, about }));
  draft.parent.push(...bindAttributes(slot, options, about));
  draft.child.push({ kind: 'move-mount', slot, root, path: destinationOf(mount), create: 'same', about });
}

/** The content of an image, as CRI Mount.image asks for it: a read-only overlay of its layers, or a directory of it. */
function addImage(target: MountTarget, mount: Mount, { own }: MountOptions): void {
  const { draft, root, options } = target;
  const path = destinationOf(mount);
  const tree = options.imageMounts?.get(path);
  if (tree === undefined)
    throw new RuntimeError('InvalidArgument', `mount ${mount.destination}: an image that nobody resolved`);
  const { layersDir, lower, subPath } = tree;
  const out = takeSlot(draft);
  const about = `mount ${mount.destination} (image ${mount.source ?? ''})`;
  const overlay = ['index=off', 'redirect_dir=off', 'metacopy=off'];
  const step = { out, layersDir, lower, options: overlay, attributes: own.set, about };
  draft.parent.push(
    target.maps === undefined
      ? { kind: 'overlay', ...step }
      : { kind: 'idmapped-overlay', ...step, userNamespace: idMapSlot(draft, target.maps) },
  );
  if (subPath !== '') draft.parent.push({ kind: 'sub-tree', slot: out, path: subPath, about });
  draft.child.push({ kind: 'move-mount', slot: out, root, path, create: 'directory', about });
}

function pauseOf({ pause }: MountTarget): Slot {
  if (pause === undefined)
    throw new RuntimeError('Internal', 'a container without a sandbox has no pause process');
  return pause;
}

/**
 * The mount's own maps, or those of the user namespace where the options only say that it is idmapped. Without `ridmap` the
 * mounts below it keep their ids: not every file system can be idmapped.
 */
function idMapAttribute(
  { draft, maps }: MountTarget,
  mount: Mount,
  { slot, options, about }: { readonly slot: Slot; readonly options: MountOptions; readonly about: string },
): readonly PlanStep[] {
  const { uidMappings = [], gidMappings = [] } = mount;
  const own = uidMappings.length + gidMappings.length > 0;
  if (!own && options.idmap === 'no') return [];
  const wanted = own ? { uidMappings, gidMappings } : maps;
  if (wanted === undefined || wanted.uidMappings.length === 0 || wanted.gidMappings.length === 0) {
    throw new RuntimeError(
      'InvalidArgument',
      `mount ${mount.destination}: maps of users and groups are missing`,
    );
  }
  return [
    {
      kind: 'mount-setattr',
      slot,
      recursive: options.idmap === 'ridmap',
      set: 0,
      clear: 0,
      propagation: 0,
      userNamespace: idMapSlot(draft, wanted),
      about: `${about}, idmapped`,
    },
  ];
}

/**
 * A copy of a shared host mount is its peer, and what is mounted below it would appear on the host: without a word it
 * becomes a slave, as runc's does.
 */
function bindAttributes(slot: Slot, options: MountOptions, about: string): readonly PlanStep[] {
  const { own, recursive, propagation = { flag: MS_SLAVE, recursive: true } } = options;
  const step = (deep: boolean, set: number, clear: number, flag: number): PlanStep => ({
    kind: 'mount-setattr',
    slot,
    recursive: deep,
    set,
    clear,
    propagation: flag,
    about,
  });
  // A plain bind is one mount: both kinds of words mean the same one.
  if (options.bind !== 'rbind') {
    const set = (recursive.set & ~own.clear) | own.set;
    return [step(false, set, (recursive.clear & ~own.set) | own.clear, propagation.flag)];
  }
  const deep = propagation.recursive ? propagation.flag : 0;
  const flat = propagation.recursive ? 0 : propagation.flag;
  const steps: PlanStep[] = [];
  if (deep !== 0 || !changesNothing(recursive)) steps.push(step(true, recursive.set, recursive.clear, deep));
  if (flat !== 0 || !changesNothing(own)) steps.push(step(false, own.set, own.clear, flat));
  return steps;
}

/** File systems without a device: read-only is a matter of the mount alone. */
const virtualTypes: ReadonlySet<string> = new Set(['proc', 'sysfs', 'tmpfs', 'devpts', 'mqueue', 'cgroup2']);

function addFileSystem(target: MountTarget, mount: Mount, options: MountOptions, isDev: boolean): void {
  const { draft, root } = target;
  const type = mount.type ?? '';
  const destination = destinationOf(mount);
  const about = `mount ${mount.destination} (${type})`;
  const attributes = options.own.set | options.recursive.set;
  // What is made or mounted inside a tmpfs needs it writable until the end.
  const sealed = type === 'tmpfs' && (attributes & MOUNT_ATTR_RDONLY) !== 0;
  const out = isDev || sealed ? takeSlot(draft) : target.scratch;
  // Devices work only on a file system that was not made in a user namespace.
  const ofLauncher = isDev && target.maps !== undefined;
  const data = ownedData(target, type, ofLauncher, options.data);
  (ofLauncher ? draft.parent : draft.child).push({
    kind: 'fs-mount',
    out,
    type,
    source: mount.source === undefined || mount.source === '' ? type : mount.source,
    options: virtualTypes.has(type) || (attributes & MOUNT_ATTR_RDONLY) === 0 ? data : [...data, 'ro'],
    attributes: sealed ? attributes & ~MOUNT_ATTR_RDONLY : attributes,
    about,
  });
  if (options.copyUp) draft.child.push({ kind: 'copy-up', slot: out, root, path: destination, about });
  draft.child.push({ kind: 'move-mount', slot: out, root, path: destination, create: 'directory', about });
  if (isDev) addDevices(target, out, '/');
  if (sealed) {
    draft.sealing.push({
      kind: 'mount-setattr',
      slot: out,
      recursive: false,
      set: MOUNT_ATTR_RDONLY,
      clear: 0,
      propagation: 0,
      about,
    });
  }
  addPropagation(draft, out, options, about);
}

/** The words for a file system in a container with a user namespace: the owner of a /dev that the launcher makes, and no group of terminals that is not mapped. */
function ownedData(
  { maps }: MountTarget,
  type: string,
  ofLauncher: boolean,
  data: readonly string[],
): readonly string[] {
  if (maps === undefined) return data;
  const owned = (word: string): boolean => {
    const gid = /^gid=(\d+)$/.exec(word)?.[1];
    return type !== 'devpts' || gid === undefined || hostIdOf(maps.gidMappings, Number(gid)) !== undefined;
  };
  if (!ofLauncher) return data.filter(owned);
  return [...data, `uid=${hostIdOf(maps.uidMappings, 0) ?? 0}`, `gid=${hostIdOf(maps.gidMappings, 0) ?? 0}`];
}

function addPropagation(draft: Draft, slot: Slot, { propagation }: MountOptions, about: string): void {
  // A new mount is private.
  if (propagation === undefined || propagation.flag === MS_PRIVATE) return;
  const { flag, recursive } = propagation;
  draft.child.push({ kind: 'mount-setattr', slot, recursive, set: 0, clear: 0, propagation: flag, about });
}
