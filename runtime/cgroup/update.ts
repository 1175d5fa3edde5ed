import { access } from 'node:fs/promises';
import path from 'node:path';
import { fileBatch, readFiles } from '../../native/index.js';
import { type ErrorCode, RuntimeError, isErrno, messageOf } from '../errors.js';
import type { LimitOperations } from './limits.js';

interface Write {
  readonly op: 'write';
  readonly path: string;
  readonly data: string;
}

/** One write with what takes it back. */
export interface Change {
  readonly write: Write;
  readonly undo: readonly Write[];
}

/**
 * Sets limits of a cgroup that is in use, all of them or none. Returns the way back.
 *
 * @throws InvalidArgument for what the kernel does not take, FailedPrecondition for a limit below what is in use and for
 * a cgroup that is gone
 */
export async function updateLimits(
  subject: string,
  { operations, attachDevices }: LimitOperations,
): Promise<() => Promise<void>> {
  const failed = (code: ErrorCode, cause: string): RuntimeError =>
    new RuntimeError(code, 'set limits of cgroup', { subject, cause });
  const found = await readFiles(operations.map((operation) => operation.path));
  for (const [index, operation] of operations.entries()) {
    if (!isErrno(found[index], 'ENOENT', 'ENODEV')) continue;
    const isThere = await exists(path.dirname(operation.path));
    if (!isThere) throw failed('FailedPrecondition', 'it is gone');
    throw failed('InvalidArgument', `this kernel has no control file ${path.basename(operation.path)}`);
  }
  const undo: Write[] = [];
  try {
    for (const change of inOrder(operations, found)) {
      await fileBatch([change.write]);
      undo.unshift(...change.undo);
    }
    await attachDevices();
  } catch (error) {
    await putBack(undo);
    throw failed(codeOfWrite(error), sentenceOf(error));
  }
  return () => putBack(undo);
}

async function exists(directory: string): Promise<boolean> {
  return access(directory).then(
    () => true,
    () => false,
  );
}

/** EBUSY: memory or a cpuset that is in use; EACCES: a cpuset beyond the parent's (cgroup-v1/cpusets.rst). */
function codeOfWrite(error: unknown): ErrorCode {
  if (isErrno(error, 'EBUSY')) return 'FailedPrecondition';
  return isErrno(error, 'EINVAL', 'ERANGE', 'EACCES', 'ENODEV') ? 'InvalidArgument' : 'Internal';
}

function sentenceOf(error: unknown): string {
  return isErrno(error, 'EBUSY') ? `${messageOf(error)} (more is in use)` : messageOf(error);
}

/** The old values, in the opposite order. What the kernel does not take back stays: there is nothing else to be done. */
async function putBack(undo: readonly Write[]): Promise<void> {
  for (const write of undo) await fileBatch([write]).catch(() => undefined);
}

interface Placed extends Change {
  /** Content of the file before. */
  readonly old: string;
}

/**
 * Two v1 files whose values bound each other after every single write. `first` is written first, as in a fresh cgroup,
 * unless its new value does not fit the old one of the other.
 */
const bounds: readonly {
  readonly first: string;
  readonly second: string;
  readonly reversed: (first: Placed, second: Placed) => boolean;
}[] = [
  {
    // memory ≤ memory+swap
    first: 'memory.limit_in_bytes',
    second: 'memory.memsw.limit_in_bytes',
    reversed: (limit, sum) => isAbove(limit.write.data, sum.old),
  },
  {
    // quota / period ≤ the parent's
    first: 'cpu.cfs_period_us',
    second: 'cpu.cfs_quota_us',
    reversed: (period) => isAbove(period.old, period.write.data),
  },
];

/** The order in which a cgroup in use takes new limits, with what takes each of them back. */
export function inOrder(operations: readonly Write[], found: readonly unknown[]): readonly Change[] {
  const changes = operations.map((write, index): Placed => {
    const content = found[index];
    const old = typeof content === 'string' ? content.trim() : '';
    return { write, undo: typeof content === 'string' ? undoOf(write, old) : [], old };
  });
  for (const bound of bounds) {
    const at = (file: string): number => changes.findIndex(({ write }) => path.basename(write.path) === file);
    const [firstAt, secondAt] = [at(bound.first), at(bound.second)];
    const [first, second] = [changes[firstAt], changes[secondAt]];
    if (first === undefined || second === undefined || !bound.reversed(first, second)) continue;
    changes[firstAt] = second;
    changes[secondAt] = first;
  }
  return changes;
}

/** -1 is no limit. */
function isAbove(value: string, bound: string): boolean {
  if (!/^-?\d+$/.test(value) || !/^-?\d+$/.test(bound) || bound.startsWith('-')) return false;
  return value.startsWith('-') || BigInt(value) > BigInt(bound);
}

/** What a device line of an `io` file is when nobody has set it (cgroup-v2.rst). */
const unsetDevice: Readonly<Record<string, string>> = {
  'io.max': 'rbps=max wbps=max riops=max wiops=max',
  'io.weight': 'default',
  'io.bfq.weight': 'default',
};

/** What writes the old content of a file again, line by line; nothing for files that only take commands. */
export function undoOf({ path: file, data }: Write, old: string): readonly Write[] {
  const name = path.basename(file);
  const to = (text: string): Write => ({ op: 'write', path: file, data: text });
  if (name.startsWith('devices.') || name.includes('_device') || name === 'memory.oom_control') return [];
  const lines = old === '' ? [] : old.split('\n').map(to);
  const [device = ''] = data.split(' ');
  const unset = unsetDevice[name];
  if (
    unset !== undefined &&
    device.includes(':') &&
    !old.split('\n').some((line) => line.startsWith(`${device} `))
  )
    return [to(`${device} ${unset}`), ...lines];
  // An empty write is none: a line break is what empties a cpuset.
  return lines.length === 0 && unset === undefined ? [to('\n')] : lines;
}
