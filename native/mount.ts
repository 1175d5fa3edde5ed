import { binding } from './binding.js';
import type { Fd } from './binding.js';

/** mount(2). */
export function mount(source: string, target: string, type: string, flags: number, data?: string): void {
  binding.mount(source, target, type, flags, data);
}
/** umount2(2). */
export function umount(target: string, flags: number): void {
  binding.umount(target, flags);
}
export function fsopen(type: string): Fd {
  return binding.fsopen(type);
}
/** fsconfig(2): a string value, or a flag where value is undefined; `create` is FSCONFIG_CMD_CREATE. */
export function fsconfigSet(fsFd: Fd, key: string, value?: string): void {
  binding.fsconfigSet(fsFd, key, value);
}
/** fsconfig(2) with a descriptor as value (overlay layers, since Linux 6.13). */
export function fsconfigSetFd(fsFd: Fd, key: string, value: Fd): void {
  binding.fsconfigSetFd(fsFd, key, value);
}
export function fsconfigCreate(fsFd: Fd): void {
  binding.fsconfigCreate(fsFd);
}
export function fsmount(fsFd: Fd, attributes: number): Fd {
  return binding.fsmount(fsFd, attributes);
}
/** A detached mount (open_tree with OPEN_TREE_CLONE). */
export function openTree(dirFd: Fd, path: string, flags: number): Fd {
  return binding.openTree(dirFd, path, flags);
}
/** move_mount(2) of the mount behind `fromFd`; onto the descriptor itself if `toPath` is empty. */
export function moveMount(fromFd: Fd, toDirFd: Fd, toPath: string): void {
  binding.moveMount(fromFd, toDirFd, toPath);
}

export interface MountAttributes {
  /** MOUNT_ATTR_* to set and to clear. */
  readonly set?: number;
  readonly clear?: number;
  /** MS_PRIVATE, MS_SLAVE, …; 0 leaves it. */
  readonly propagation?: number;
  /** A user namespace for MOUNT_ATTR_IDMAP. */
  readonly userNamespaceFd?: Fd;
  /** The mounts below it too (AT_RECURSIVE). */
  readonly recursive?: boolean;
}

/** mount_setattr(2) of the mount behind a descriptor. */
export function mountSetattr(mountFd: Fd, attributes: MountAttributes): void {
  const { set = 0, clear = 0, propagation = 0, userNamespaceFd = -1, recursive = false } = attributes;
  binding.mountSetattr(mountFd, recursive ? AT_RECURSIVE : 0, set, clear, propagation, userNamespaceFd);
}

const AT_RECURSIVE = 0x8000;
