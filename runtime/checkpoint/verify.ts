import { readlink } from 'node:fs/promises';
import path from 'node:path';
import { readFiles } from '../../native/index.js';
import type { RestoredProcesses } from '../container/deps.js';
import { RuntimeError } from '../errors.js';
import { capabilityMask } from '../spec/capabilities.js';
import type { Mount, Spec } from '../spec/types.js';
import { ownTypes, parseMounts, type MountLine } from './external.js';

/**
 * Looks at processes that CRIU has made but not let run yet: images from elsewhere say what they like about privileges,
 * namespaces and mount flags, and none of that may be more than the new container's spec allows.
 *
 * @throws PermissionDenied naming what is more
 */
export async function verifyRestored(initPid: number, restored: RestoredProcesses): Promise<void> {
  await verifyNamespaces(initPid, restored);
  await verifyMounts(initPid, restored);
  const own = await readlink(`/proc/${initPid}/ns/pid`);
  for (const pid of await restored.processes()) {
    // CRIU itself is in the cgroup as well.
    if ((await readlink(`/proc/${pid}/ns/pid`)) === own) await verifyPrivileges(pid, restored.spec);
  }
}

const kinds = [
  ['network', 'net'],
  ['ipc', 'ipc'],
  ['uts', 'uts'],
  ['mount', 'mnt'],
  ['pid', 'pid'],
  ['cgroup', 'cgroup'],
] as const;

async function verifyNamespaces(initPid: number, { spec }: RestoredProcesses): Promise<void> {
  for (const [type, name] of kinds) {
    const wanted = spec.linux?.namespaces?.find((namespace) => namespace.type === type);
    const own = await readlink(`/proc/${initPid}/ns/${name}`);
    const host = await readlink(`/proc/self/ns/${name}`);
    const joined = wanted?.path === undefined ? undefined : await readlink(wanted.path);
    const right = wanted === undefined ? own === host : joined === undefined ? own !== host : own === joined;
    if (!right) throw denied(`its ${type} namespace is not the one that the container should have`);
  }
  const own = await readlink(`/proc/${initPid}/ns/user`);
  if (own !== (await readlink('/proc/self/ns/user'))) throw denied('it has a user namespace');
}

async function verifyMounts(initPid: number, { spec, mounts }: RestoredProcesses): Promise<void> {
  const found = parseMounts(await readText(`/proc/${initPid}/mountinfo`));
  const known = new Set(mounts.map(({ mountpoint }) => mountpoint));
  const strange = found.find(
    ({ mountpoint, type }) => mountpoint !== '/' && !ownTypes.has(type) && !known.has(mountpoint),
  );
  if (strange !== undefined) throw denied(`${strange.mountpoint} is a mount of ${strange.type}`);
  const readOnly = (spec.mounts ?? [])
    .filter(isReadOnly)
    .map(({ destination }) => path.posix.normalize(destination));
  if (spec.root?.readonly === true) readOnly.push('/');
  for (const mountpoint of [...readOnly, ...(spec.linux?.readonlyPaths ?? [])]) {
    const top = found.findLast((mount) => mount.mountpoint === mountpoint);
    if (top !== undefined && !top.readOnly) throw denied(`${mountpoint} is writable`);
  }
  for (const masked of spec.linux?.maskedPaths ?? []) verifyMask(found, masked);
}

/** A path that the image lacks has no mount; below /proc and /sys that is not the archive's to say, but the dump's. */
function verifyMask(found: readonly MountLine[], masked: string): void {
  const top = found.findLast(({ mountpoint }) => mountpoint === masked);
  if (top !== undefined && top.type !== 'tmpfs' && !top.root.endsWith('/null'))
    throw denied(`${masked} is not masked`);
}

function isReadOnly({ options = [] }: Mount): boolean {
  return options.findLast((word) => /^r?(ro|rw)$/.test(word))?.endsWith('ro') === true;
}

async function verifyPrivileges(pid: number, { process, linux }: Spec): Promise<void> {
  const status = await readText(`/proc/${pid}/status`);
  const field = (name: string): string => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(status)?.[1] ?? '0';
  const allowed = capabilityMask(process?.capabilities?.bounding ?? []) ?? 0n;
  for (const set of ['CapPrm', 'CapEff', 'CapInh', 'CapBnd', 'CapAmb']) {
    const more = BigInt(`0x${field(set)}`) & ~allowed;
    if (more !== 0n) throw denied(`process ${pid} has capabilities 0x${more.toString(16)} in ${set}`);
  }
  if (linux?.seccomp !== undefined && field('Seccomp') !== '2')
    throw denied(`process ${pid} has no seccomp filter`);
  if (process?.noNewPrivileges === true && field('NoNewPrivs') !== '1')
    throw denied(`process ${pid} may gain privileges`);
}

async function readText(file: string): Promise<string> {
  const [content] = await readFiles([file]);
  if (typeof content !== 'string')
    throw new RuntimeError('FailedPrecondition', 'a restored process has ended');
  return Buffer.from(content, 'latin1').toString('utf8');
}

function denied(cause: string): RuntimeError {
  return new RuntimeError('PermissionDenied', 'the checkpoint asks for more than the container may have', {
    cause,
  });
}
