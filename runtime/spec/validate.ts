import { RuntimeError } from '../errors.js';
import { isCapability } from './capabilities.js';
import { rlimitNumber } from './rlimits.js';
import {
  type Capabilities,
  type Device,
  type IdMapping,
  type Linux,
  type Mount,
  type Namespace,
  type Process,
  type Spec,
  namespaceTypes,
} from './types.js';

/**
 * What no launch plan can express or the kernel would refuse in words nobody understands: checked for every spec, parsed
 * or made by us, before anything is done. Each failure is InvalidArgument and begins with the field's path.
 *
 * @throws InvalidArgument
 */
export function validateSpec(spec: Spec): void {
  const { process, hostname = '', domainname = '', mounts = [], linux = {} } = spec;
  if (process !== undefined) validateProcess(process);
  validateNamespaces(linux.namespaces ?? []);
  const has = (type: Namespace['type']) =>
    linux.namespaces?.some((namespace) => namespace.type === type) === true;
  if (hostname !== '') {
    validateHostname(hostname, 'hostname');
    if (!has('uts')) refuse('hostname', "cannot be set in the host's uts namespace");
  }
  if (domainname !== '') {
    text('domainname', domainname, 64);
    if (!has('uts')) refuse('domainname', "cannot be set in the host's uts namespace");
  }
  mounts.forEach((mount, index) => validateMount(mount, `mounts[${index}]`));
  validateSysctls(
    linux.sysctl ?? {},
    { network: has('network'), ipc: has('ipc'), uts: has('uts') },
    'linux.sysctl',
  );
  validateLinux(linux);
}

/** The process of a spec or of an exec. @throws InvalidArgument */
export function validateProcess(process: Process, field = 'process'): void {
  const { args, env = [], cwd, user } = process;
  if (args.length === 0 || args[0] === '') refuse(`${field}.args`, 'has no command');
  args.forEach((arg, index) => text(`${field}.args[${index}]`, arg));
  env.forEach((entry, index) => {
    text(`${field}.env[${index}]`, entry);
    if (entry.indexOf('=') < 1)
      refuse(`${field}.env[${index}]`, `${JSON.stringify(entry)} is not NAME=value`);
  });
  absolute(`${field}.cwd`, cwd);
  id(`${field}.user.uid`, user.uid);
  id(`${field}.user.gid`, user.gid);
  user.additionalGids?.forEach((gid, index) => id(`${field}.user.additionalGids[${index}]`, gid));
  if (user.umask !== undefined) integer(`${field}.user.umask`, user.umask, 0, 0o777);
  validateLimits(process, field);
}

function validateLimits(process: Process, field: string): void {
  const { capabilities = {}, rlimits = [], oomScoreAdj, consoleSize } = process;
  validateCapabilities(capabilities, `${field}.capabilities`);
  const seen = new Set<string>();
  rlimits.forEach(({ type, soft, hard }, index) => {
    const at = `${field}.rlimits[${index}]`;
    if (rlimitNumber(type) < 0) refuse(`${at}.type`, `${JSON.stringify(type)} is no resource limit`);
    if (seen.has(type)) refuse(`${at}.type`, `${type} is there twice`);
    seen.add(type);
    for (const [name, value] of Object.entries({ soft, hard }))
      if (value !== -1 && !(Number.isInteger(value) && value >= 0))
        refuse(`${at}.${name}`, `${value} is no limit`);
    if (order(soft) > order(hard)) refuse(`${at}.soft`, `${soft} is above the hard limit ${hard}`);
  });
  if (oomScoreAdj !== undefined) integer(`${field}.oomScoreAdj`, oomScoreAdj, -1000, 1000);
  if (consoleSize !== undefined) {
    integer(`${field}.consoleSize.height`, consoleSize.height, 0, 0xffff);
    integer(`${field}.consoleSize.width`, consoleSize.width, 0, 0xffff);
  }
}

/** -1 is written for "no limit" as well as 2^64-1. */
function order(limit: number): number {
  return limit === -1 ? Infinity : limit;
}

function validateCapabilities(capabilities: Capabilities, field: string): void {
  for (const [set, names] of Object.entries(capabilities) as [string, readonly string[] | undefined][]) {
    const unknown = names?.find((name) => !isCapability(name));
    if (unknown !== undefined) refuse(`${field}.${set}`, `${JSON.stringify(unknown)} is no capability`);
  }
}

function validateNamespaces(namespaces: readonly Namespace[]): void {
  const seen = new Set<string>();
  namespaces.forEach(({ type, path }, index) => {
    const at = `linux.namespaces[${index}]`;
    if (!(namespaceTypes as readonly string[]).includes(type))
      refuse(`${at}.type`, `${JSON.stringify(type)} is no namespace`);
    if (seen.has(type)) refuse(`${at}.type`, `${type} is there twice`);
    seen.add(type);
    if (path !== undefined && path !== '') absolute(`${at}.path`, path);
  });
}

/** RFC 1123 is the caller's business; the kernel takes 64 bytes of anything. @throws InvalidArgument */
export function validateHostname(name: string, field: string): void {
  text(field, name, 64);
  if (/[\s/]/.test(name)) refuse(field, `${JSON.stringify(name)} is no host name`);
}

function validateMount(mount: Mount, field: string): void {
  const { destination, source = '', type = '', options = [] } = mount;
  absolute(`${field}.destination`, destination);
  if (/^\/+\.?$/.test(destination)) refuse(`${field}.destination`, 'is the root itself');
  text(`${field}.source`, source);
  text(`${field}.type`, type);
  options.forEach((option, index) => text(`${field}.options[${index}]`, option));
  const bind = type === 'bind' || options.includes('bind') || options.includes('rbind');
  if (bind && !source.startsWith('/')) refuse(`${field}.source`, `${JSON.stringify(source)} is not absolute`);
  if (!bind && (type === '' || type === 'none')) refuse(`${field}.type`, 'is missing');
  validateMappings(mount.uidMappings ?? [], `${field}.uidMappings`);
  validateMappings(mount.gidMappings ?? [], `${field}.gidMappings`);
}

function validateLinux(linux: Linux): void {
  linux.devices?.forEach((device, index) => validateDevice(device, `linux.devices[${index}]`));
  linux.maskedPaths?.forEach((path, index) => absolute(`linux.maskedPaths[${index}]`, path));
  linux.readonlyPaths?.forEach((path, index) => absolute(`linux.readonlyPaths[${index}]`, path));
  const propagation = linux.rootfsPropagation ?? '';
  if (!/^(r?(private|shared|slave|unbindable))?$/.test(propagation))
    refuse('linux.rootfsPropagation', `${JSON.stringify(propagation)} is no mount propagation`);
  validateUserNamespace(linux);
}

/** A container needs maps of both kinds for its user namespace, also for one that it joins: for its rootfs and pipes. */
function validateUserNamespace({ namespaces = [], uidMappings = [], gidMappings = [] }: Linux): void {
  const has = namespaces.some(({ type }) => type === 'user');
  for (const [field, mappings] of Object.entries({ uidMappings, gidMappings })) {
    validateMappings(mappings, `linux.${field}`);
    if (has && !mappings.some(({ containerID }) => containerID === 0))
      refuse(`linux.${field}`, 'must map id 0 of the user namespace');
    if (!has && mappings.length > 0) refuse(`linux.${field}`, 'needs a user namespace');
  }
}

function validateDevice(device: Device, field: string): void {
  absolute(`${field}.path`, device.path);
  if (!['c', 'u', 'b', 'p'].includes(device.type))
    refuse(`${field}.type`, `${JSON.stringify(device.type)} is no device type`);
  // 12 and 20 bits: what dev_t holds in the kernel.
  if (device.type !== 'p') {
    integer(`${field}.major`, device.major ?? 0, 0, 0xfff);
    integer(`${field}.minor`, device.minor ?? 0, 0, 0xfffff);
  }
  if (device.fileMode !== undefined) integer(`${field}.fileMode`, device.fileMode, 0, 0o177777);
  if (device.uid !== undefined) id(`${field}.uid`, device.uid);
  if (device.gid !== undefined) id(`${field}.gid`, device.gid);
}

function validateMappings(mappings: readonly IdMapping[], field: string): void {
  mappings.forEach(({ containerID, hostID, size }, index) => {
    const at = `${field}[${index}]`;
    integer(`${at}.size`, size, 1, 0xffffffff);
    integer(`${at}.containerID`, containerID, 0, 0xffffffff - size);
    integer(`${at}.hostID`, hostID, 0, 0xffffffff - size);
    const overlaps = mappings
      .slice(0, index)
      .some(
        (other) => containerID < other.containerID + other.size && other.containerID < containerID + size,
      );
    if (overlaps) refuse(`${at}.containerID`, 'overlaps another range');
  });
}

/** Which namespaces are not the host's. */
export interface SysctlScope {
  readonly network: boolean;
  readonly ipc: boolean;
  readonly uts: boolean;
}

const ipcSysctls: ReadonlySet<string> = new Set([
  'kernel.msgmax',
  'kernel.msgmnb',
  'kernel.msgmni',
  'kernel.sem',
  'kernel.shmall',
  'kernel.shmmax',
  'kernel.shmmni',
  'kernel.shm_rmid_forced',
]);

/** Only sysctls that a namespace keeps for itself, and only where that namespace is not the host's. @throws InvalidArgument */
export function validateSysctls(
  sysctls: Readonly<Record<string, string>>,
  scope: SysctlScope,
  field: string,
): void {
  for (const [key, value] of Object.entries(sysctls)) {
    const at = `${field}[${JSON.stringify(key)}]`;
    if (!/^[A-Za-z0-9_-]+([./][A-Za-z0-9_-]+)+$/.test(key)) refuse(at, 'is no sysctl');
    if (value.length > 4096 || /[\0\n\r]/.test(value)) refuse(at, 'has a value of more than one line');
    const namespace = sysctlNamespace(key.replaceAll('/', '.'));
    if (namespace === undefined) refuse(at, 'is not kept per namespace');
    if (!scope[namespace]) refuse(at, `would change the host: the ${namespace} namespace is the host's`);
  }
}

function sysctlNamespace(key: string): keyof SysctlScope | undefined {
  if (key.startsWith('net.')) return 'network';
  if (ipcSysctls.has(key) || key.startsWith('fs.mqueue.')) return 'ipc';
  return key === 'kernel.domainname' ? 'uts' : undefined;
}

function absolute(field: string, path: string): void {
  text(field, path, 4095);
  if (!path.startsWith('/')) refuse(field, `${JSON.stringify(path)} is not absolute`);
  if (path.split('/').includes('..')) refuse(field, `${JSON.stringify(path)} has ".."`);
}

function text(field: string, value: string, maxBytes = Infinity): void {
  if (value.includes('\0')) refuse(field, 'has a NUL byte');
  if (value.length > maxBytes || (maxBytes < Infinity && Buffer.byteLength(value) > maxBytes))
    refuse(field, `is longer than ${maxBytes} bytes`);
}

/** The kernel's (uid_t)-1 means "leave it". */
function id(field: string, value: number): void {
  integer(field, value, 0, 0xfffffffe);
}

function integer(field: string, value: number, low: number, high: number): void {
  if (!Number.isInteger(value) || value < low || value > high)
    refuse(field, `${value} is not within ${low} and ${high}`);
}

function refuse(field: string, why: string): never {
  throw new RuntimeError('InvalidArgument', `${field} ${why}`);
}
