import { readlink } from 'node:fs/promises';
import { readFiles } from '../../native/index.js';
import { RuntimeError } from '../errors.js';

/** One line of /proc/PID/mountinfo (man 5 proc). */
export interface MountLine {
  readonly mountpoint: string;
  readonly type: string;
  readonly root: string;
  /** The mount, whatever its file system says. */
  readonly readOnly: boolean;
}

/** What of a container belongs to the host and is only named in the images. */
export interface ExternalParts {
  /** Mount points that CRIU records by name: binds, the sandbox' /dev/shm, masks, cgroups. */
  readonly mounts: readonly string[];
  /** `TYPE[INODE]:KEY` of namespaces that others hold. */
  readonly namespaces: readonly string[];
}

/** Kinds of file system that CRIU brings back itself. Everything else in a container is the host's. */
export const ownTypes: ReadonlySet<string> = new Set([
  'overlay',
  'proc',
  'sysfs',
  'tmpfs',
  'devpts',
  'mqueue',
]);

export function parseMounts(mountinfo: string): readonly MountLine[] {
  return mountinfo
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [left = '', right = ''] = line.split(' - ');
      const fields = left.split(' ');
      return {
        mountpoint: unescape(fields[4] ?? ''),
        root: unescape(fields[3] ?? ''),
        readOnly: (fields[5] ?? '').split(',').includes('ro'),
        type: right.split(' ')[0] ?? '',
      };
    });
}

/** mountinfo writes space, tab, newline and backslash in octal. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
}

/**
 * Looks at the running container, not at what it was asked to be: a masked path that the image lacks has no mount.
 * `binds` are the destinations of the spec's bind mounts, which may be of any kind of file system.
 */
export async function findExternal(pid: number, binds: ReadonlySet<string>): Promise<ExternalParts> {
  const [mountinfo] = await readFiles([`/proc/${pid}/mountinfo`]);
  if (typeof mountinfo !== 'string') throw new RuntimeError('FailedPrecondition', 'the container has ended');
  const mounts = parseMounts(Buffer.from(mountinfo, 'latin1').toString('utf8'))
    .filter(({ mountpoint, type }) => mountpoint !== '/' && (binds.has(mountpoint) || !ownTypes.has(type)))
    .map(({ mountpoint }) => mountpoint);
  return { mounts, namespaces: await externalNamespaces(pid) };
}

/** Network and pid namespaces that are not the container's own, under the names restore asks for. */
const external = [
  ['net', 'extRootNetNS'],
  ['pid', 'extRootPidNS'],
] as const;

async function externalNamespaces(pid: number): Promise<readonly string[]> {
  const found: string[] = [];
  for (const [name, key] of external) {
    const [own, host] = await Promise.all([
      readlink(`/proc/${pid}/ns/${name}`),
      readlink(`/proc/self/ns/${name}`),
    ]);
    if (own === host) continue;
    if (name === 'pid' && (await isOwnPidNamespace(pid))) continue;
    found.push(`${own.replace(':', '')}:${key}`);
  }
  return found;
}

/** Init of a pid namespace of its own has pid 1 there (last field of NSpid). */
async function isOwnPidNamespace(pid: number): Promise<boolean> {
  const [status] = await readFiles([`/proc/${pid}/status`]);
  const line = typeof status === 'string' ? /^NSpid:\s*(.*)$/m.exec(status)?.[1] : undefined;
  return line?.trim().split(/\s+/).at(-1) === '1';
}
