import type { Stats } from 'node:fs';
import { readdir, stat, lstat } from 'node:fs/promises';
import path from 'node:path';
import { RuntimeError, isErrno, wrapError } from '../runtime/errors.js';
import {
  type DeviceAccess,
  type DeviceWish,
  type HostDevice,
  toDevices,
  toPrivilegedDevices,
} from './translate/devices.js';

/** Finds the device nodes a container asks for; all of the host's for a privileged one. */
export async function resolveDevices(
  wishes: readonly DeviceWish[],
  privileged: boolean,
): Promise<DeviceAccess> {
  if (privileged) return toPrivilegedDevices(await findDevices('/dev', ''));
  return toDevices(await Promise.all(wishes.map(async (wish) => ({ wish, found: await resolveWish(wish) }))));
}

async function resolveWish({ hostPath }: DeviceWish): Promise<readonly HostDevice[]> {
  try {
    const stats = await stat(hostPath);
    if (stats.isDirectory()) return await findDevices(hostPath, '');
    const device = toHostDevice('', stats);
    if (device === undefined) throw new RuntimeError('InvalidArgument', 'is no device');
    return [device];
  } catch (error) {
    throw wrapError('device', error, hostPath);
  }
}

/** Places below /dev that are file systems or directories of their own in every container. */
const skipped: ReadonlySet<string> = new Set(['pts', 'shm', 'fd', 'mqueue', '.lxc', '.lxd-mounts', '.udev']);
const maxDepth = 8;

async function findDevices(root: string, relative: string): Promise<readonly HostDevice[]> {
  if (relative.split('/').length > maxDepth) return [];
  const names = (await readdir(path.join(root, relative))).filter(
    (name) => !skipped.has(name) && name !== 'console',
  );
  const found = await Promise.all(
    names.map((name) => inspect(root, relative === '' ? name : `${relative}/${name}`)),
  );
  return found.flat();
}

async function inspect(root: string, relative: string): Promise<readonly HostDevice[]> {
  try {
    // A symbolic link is not followed: what it leads to is found under its own name.
    const stats = await lstat(path.join(root, relative));
    if (stats.isDirectory()) return await findDevices(root, relative);
    const device = toHostDevice(relative, stats);
    return device === undefined ? [] : [device];
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

function toHostDevice(relativePath: string, stats: Stats): HostDevice | undefined {
  if (!stats.isCharacterDevice() && !stats.isBlockDevice()) return undefined;
  const device = BigInt(stats.rdev);
  return {
    relativePath,
    type: stats.isBlockDevice() ? 'b' : 'c',
    // As glibc packs st_rdev (man 3 makedev).
    major: Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn)),
    minor: Number((device & 0xffn) | ((device >> 12n) & ~0xffn & 0xffff_ffffn)),
    fileMode: stats.mode & 0o777,
    uid: stats.uid,
    gid: stats.gid,
  };
}
