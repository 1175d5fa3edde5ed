import type { Device as CriDevice } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Device, DeviceRule } from '../../runtime/spec/types.js';
import { checkAbsolutePath, checkCount, checkText, quote, refuse } from './check.js';

/** A device the client asks for, checked. Its host path may be a directory of devices. */
export interface DeviceWish {
  readonly hostPath: string;
  readonly containerPath: string;
  readonly permissions: string;
}

/** A device node of the host. */
export interface HostDevice {
  /** Below the wish's host path; empty if it is the host path itself. */
  readonly relativePath: string;
  readonly type: 'c' | 'b';
  readonly major: number;
  readonly minor: number;
  readonly fileMode: number;
  readonly uid: number;
  readonly gid: number;
}

export function toDeviceWishes(devices: readonly CriDevice[]): readonly DeviceWish[] {
  checkCount('config.devices', devices, 1000);
  return devices.map(({ hostPath, containerPath, permissions }, index) => {
    const field = `config.devices[${index}]`;
    const host = checkAbsolutePath(`${field}.host_path`, hostPath);
    checkText(`${field}.permissions`, permissions, { mayBeEmpty: true });
    if (!/^(?!.*(.).*\1)[rwm]{0,3}$/.test(permissions)) {
      throw refuse(`${field}.permissions`, `must be some of "rwm", not ${quote(permissions)}`);
    }
    return {
      hostPath: host,
      containerPath:
        containerPath === '' ? host : checkAbsolutePath(`${field}.container_path`, containerPath),
      permissions: permissions === '' ? 'rwm' : permissions,
    };
  });
}

export interface DeviceAccess {
  readonly devices: readonly Device[];
  readonly rules: readonly DeviceRule[];
}

/** The nodes to make in the container and what its cgroup lets it do with them. */
export function toDevices(
  wishes: readonly { readonly wish: DeviceWish; readonly found: readonly HostDevice[] }[],
): DeviceAccess {
  const granted = wishes.flatMap(({ wish, found }) => found.map((device) => ({ wish, device })));
  return {
    devices: granted.map(({ wish, device }) =>
      toNode(joinPath(wish.containerPath, device.relativePath), device),
    ),
    rules: granted.map(({ wish, device }) => ({
      allow: true,
      type: device.type,
      major: device.major,
      minor: device.minor,
      access: wish.permissions,
    })),
  };
}

/** Every device of the host and, under the names it asks for, of its own: for a privileged container. */
export function toPrivilegedDevices(
  found: readonly HostDevice[],
  { devices }: Pick<DeviceAccess, 'devices'>,
): DeviceAccess {
  const all = found.map((device) => toNode(joinPath('/dev', device.relativePath), device));
  return { devices: [...all, ...devices], rules: allDevices };
}

/** The use of every device, whatever node leads to it. */
export const allDevices: readonly DeviceRule[] = [{ allow: true, access: 'rwm' }];

function toNode(path: string, { type, major, minor, fileMode, uid, gid }: HostDevice): Device {
  return { path, type, major, minor, fileMode, uid, gid };
}

function joinPath(directory: string, relative: string): string {
  return relative === '' ? directory : `${directory}/${relative}`;
}

/**
 * Access to devices without any being asked for: none, but for making nodes and for those every container has
 * (OCI runtime-spec config-linux.md#default-devices).
 */
export const defaultDeviceRules: readonly DeviceRule[] = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  ...[
    [1, 3], // null
    [1, 5], // zero
    [1, 7], // full
    [1, 8], // random
    [1, 9], // urandom
    [5, 0], // tty
    [5, 2], // ptmx
  ].map(([major, minor]) => ({ allow: true, type: 'c', major, minor, access: 'rwm' })),
  { allow: true, type: 'c', major: 136, access: 'rwm' }, // pts/*
];
