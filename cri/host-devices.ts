import type { Stats } from 'node:fs';
import { readdir, stat, lstat } from 'node:fs/promises';
import path from 'node:path';
import { deviceNumber } from '../runtime/base/device-number.js';
import { RuntimeError, isErrno, wrapError } from '../runtime/errors.js';
import {
  type DeviceAccess,
  type DeviceWish,
  type HostDevice,
  allDevices,
  toDevices,
  toPrivilegedDevices,
} from './translate/devices.js';

/** Which devices a container gets beyond those it asks for. */
export interface DeviceGrant {
  /** Nodes of all devices of the host, and their use. */
  readonly all: boolean;
  /** Their use alone. */
  readonly mayUseAll: boolean;
}

/** Finds the device nodes a container asks for, and those it gets in any case. */
export async function resolveDevices(
  wishes: readonly DeviceWish[],
  { all, mayUseAll }: DeviceGrant,
): Promise<DeviceAccess> {
  const asked = toDevices(
    await Promise.all(wishes.map(async (wish) => ({ wish, found: await resolveWish(wish) }))),
  );
  if (all) return toPrivilegedDevices(await findDevices('/dev', ''), asked);
  return mayUseAll ? { ...asked, rules: allDevices } : asked;
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
  return {
    relativePath,
    type: stats.isBlockDevice() ? 'b' : 'c',
    ...deviceNumber(stats.rdev),
    fileMode: stats.mode & 0o777,
    uid: stats.uid,
    gid: stats.gid,
  };
}
