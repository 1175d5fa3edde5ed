import type { Device, Mount } from '../../runtime/spec/types.js';
import type { Config } from '../config.js';
import { quote, refuse } from './check.js';
import type { SeccompChoice } from './security.js';
import type { ResolvedUser } from './user.js';

/**
 * A named way to run pods (RuntimeClass.handler): the same core with other settings. The empty name is the default one,
 * whose settings the others inherit.
 */
export interface Handler {
  readonly name: string;
  /** A privileged container gets the devices it asks for, not all of the host's. */
  readonly privilegedWithoutHostDevices: boolean;
  /** It may then still use every device, once it has made a node. */
  readonly privilegedMayUseAllDevices: boolean;
  /** The filter of containers that ask for none. */
  readonly unsetSeccomp: SeccompChoice;
  readonly writableCgroups: boolean;
  readonly ownDevices: boolean;
  readonly cdiAnnotations: boolean;
  /** 0: any. */
  readonly logBytesPerSecond: number;
  /** Kernel settings of pods that do not set them themselves. */
  readonly sysctls: Readonly<Record<string, string>>;
}

type RuntimeConfig = Config['runtime'];

/** @throws InvalidArgument for a name that is not configured */
export function findHandler(
  field: string,
  name: string,
  { default: base, handlers }: RuntimeConfig,
): Handler {
  const own = Object.hasOwn(handlers, name) ? handlers[name] : undefined;
  if (name !== '' && own === undefined) {
    throw refuse(field, `no handler ${quote(name)} is configured (there is ${listed(handlers)})`);
  }
  const seccomp = own?.unset_seccomp_profile ?? base.unset_seccomp_profile;
  return {
    name,
    privilegedWithoutHostDevices:
      own?.privileged_without_host_devices ?? base.privileged_without_host_devices,
    privilegedMayUseAllDevices:
      own?.privileged_without_host_devices_all_devices_allowed ??
      base.privileged_without_host_devices_all_devices_allowed,
    unsetSeccomp: { kind: seccomp === 'runtime/default' ? 'default' : 'none' },
    writableCgroups: own?.cgroup_writable ?? base.cgroup_writable,
    ownDevices: own?.device_ownership_from_security_context ?? base.device_ownership_from_security_context,
    cdiAnnotations: own?.cdi_annotations ?? base.cdi_annotations,
    logBytesPerSecond: own?.log_bytes_per_second ?? base.log_bytes_per_second,
    sysctls: { ...base.sysctls, ...own?.sysctls },
  };
}

function listed(handlers: RuntimeConfig['handlers']): string {
  const names = Object.keys(handlers);
  return names.length === 0 ? 'only the default, ""' : names.map(quote).join(', ');
}

/** Every handler's name, the default's first. */
export function handlerNames({ handlers }: RuntimeConfig): readonly string[] {
  return ['', ...Object.keys(handlers)];
}

/** The mounts of a container, its cgroups writable if the handler says so. */
export function withCgroupAccess({ writableCgroups }: Handler, mounts: readonly Mount[]): readonly Mount[] {
  if (!writableCgroups) return mounts;
  return mounts.map((mount) =>
    mount.type === 'cgroup'
      ? { ...mount, options: [...(mount.options ?? []).filter((word) => word !== 'ro'), 'rw'] }
      : mount,
  );
}

/** Devices belong to the user of the container if the handler says so and it is not root. */
export function withOwner(
  { ownDevices }: Handler,
  { uid, gid }: ResolvedUser,
  devices: readonly Device[],
): readonly Device[] {
  if (!ownDevices) return devices;
  return devices.map((device) => ({
    ...device,
    ...(uid === 0 ? {} : { uid }),
    ...(gid === 0 ? {} : { gid }),
  }));
}
