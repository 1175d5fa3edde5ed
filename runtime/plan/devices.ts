import path from 'node:path';
import type { Device } from '../spec/types.js';
import { S_IFBLK, S_IFCHR, S_IFIFO } from './kernel.js';
import { type MountTarget, isBelow } from './mount-target.js';
import type { PlanStep, Slot } from './steps.js';

/** OCI runtime-spec config-linux.md#default-devices. */
const defaultDevices: readonly Device[] = [
  { path: '/dev/null', type: 'c', major: 1, minor: 3 },
  { path: '/dev/zero', type: 'c', major: 1, minor: 5 },
  { path: '/dev/full', type: 'c', major: 1, minor: 7 },
  { path: '/dev/random', type: 'c', major: 1, minor: 8 },
  { path: '/dev/urandom', type: 'c', major: 1, minor: 9 },
  { path: '/dev/tty', type: 'c', major: 5, minor: 0 },
];

const links: readonly (readonly [path: string, target: string])[] = [
  ['/dev/ptmx', 'pts/ptmx'],
  ['/dev/fd', '/proc/self/fd'],
  ['/dev/stdin', '/proc/self/fd/0'],
  ['/dev/stdout', '/proc/self/fd/1'],
  ['/dev/stderr', '/proc/self/fd/2'],
  ['/dev/core', '/proc/kcore'],
];

/**
 * Makes the default devices, those of the spec and the usual links. `dev` is the mount that is /dev (a fresh tmpfs: paths
 * then start below it, and nothing of the image is walked), or the rootfs with its own /dev. A host's /dev that is bound
 * is left as it is.
 */
export function addDevices(target: MountTarget, dev: Slot, devPath: '/' | '/dev'): void {
  const { spec } = target.options;
  const wanted = new Map(
    [...defaultDevices, ...(spec.linux?.devices ?? [])].map((device) => [pathOf(device), device]),
  );
  // These two are made by what owns them: devpts and the console.
  wanted.delete('/dev/ptmx');
  wanted.delete('/dev/console');
  // Nobody may make a device in a user namespace. The launcher's nodes keep the host's owners.
  const { child, parent } = target.draft;
  const steps = target.maps === undefined ? child : parent;
  for (const [at, device] of wanted) steps.push(deviceStep(device, place(target.root, dev, devPath, at)));
  for (const [at, to] of links) {
    steps.push({ kind: 'symlink', ...place(target.root, dev, devPath, at), target: to, about: `link ${at}` });
  }
}

function pathOf(device: Device): string {
  return path.posix.normalize(device.path);
}

function place(
  root: Slot,
  dev: Slot,
  devPath: '/' | '/dev',
  at: string,
): { readonly root: Slot; readonly path: string } {
  if (devPath === '/' && isBelow(at, '/dev')) return { root: dev, path: at.slice('/dev'.length) };
  return { root, path: at };
}

function deviceStep(device: Device, at: { readonly root: Slot; readonly path: string }): PlanStep {
  const type = device.type === 'b' ? S_IFBLK : device.type === 'p' ? S_IFIFO : S_IFCHR;
  return {
    kind: 'make-device',
    ...at,
    mode: type | ((device.fileMode ?? 0o666) & 0o7777),
    major: device.type === 'p' ? 0 : (device.major ?? 0),
    minor: device.type === 'p' ? 0 : (device.minor ?? 0),
    uid: device.uid ?? 0,
    gid: device.gid ?? 0,
    about: `make device ${device.path}`,
  };
}
