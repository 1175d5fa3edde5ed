import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { binding, type FileColumns } from './binding.js';
import { SystemError } from './system-error.js';

export type FileResult = string | SystemError;

/** Reads many small files (kernel interfaces) in one hop of the thread pool; at most 1 MiB each, latin1. */
export function readFiles(paths: readonly string[]): Promise<readonly FileResult[]> {
  return binding.readFiles(paths);
}

/**
 * The same in the calling thread, which waits for it: only for a few small files of procfs or cgroupfs. These never wait
 * for a device, and a hop of the thread pool costs more than they do.
 */
export function readFilesSync(paths: readonly string[]): readonly FileResult[] {
  return binding.readFilesSync(paths);
}

export type FileOperation =
  | {
      readonly op: 'mkdir';
      readonly path: string;
      readonly mode: number;
      /** Not an error if the directory exists. */
      readonly existOk?: boolean;
    }
  | {
      /** One write(2) of the whole content to an existing file (kernel interfaces). */ readonly op: 'write';
      readonly path: string;
      readonly data: string;
    }
  | {
      /** New file through a temporary name in the same directory and rename(2); no fsync. */ readonly op: 'replace';
      readonly path: string;
      readonly data: string | Uint8Array;
      readonly mode: number;
    }
  | { readonly op: 'rmdir' | 'unlink'; readonly path: string; readonly missingOk?: boolean }
  | { readonly op: 'rename'; readonly path: string; readonly to: string }
  | { readonly op: 'symlink'; readonly path: string; readonly target: string };

/**
 * Carries out file operations in order in one hop of the thread pool and stops at the first failure, which is thrown
 * with its `index`. What was done before it stays done: the caller undoes.
 */
export function fileBatch(operations: readonly FileOperation[]): Promise<void> {
  return binding.fileBatch(...columns(operations));
}

/**
 * The same in the calling thread, which waits for it: only for cgroupfs and tmpfs. These never wait for a device, and a
 * hop of the thread pool costs more than they do.
 */
export function fileBatchSync(operations: readonly FileOperation[]): void {
  binding.fileBatchSync(...columns(operations));
}

function columns(operations: readonly FileOperation[]): FileColumns {
  return [
    operations.map(({ op }) => FILE_OPERATIONS.indexOf(op)),
    operations.map((operation) => operation.path),
    operations.map(textOf),
    operations.map((operation) => ('mode' in operation ? operation.mode : 0)),
    operations.map((operation) => (isLenient(operation) ? 1 : 0)),
  ];
}

/** In the order of the addon's `Kind`. */
const FILE_OPERATIONS: readonly FileOperation['op'][] = [
  'mkdir',
  'write',
  'replace',
  'rmdir',
  'unlink',
  'rename',
  'symlink',
];

function textOf(operation: FileOperation): string | Uint8Array {
  switch (operation.op) {
    case 'write':
    case 'replace':
      return operation.data;
    case 'rename':
      return operation.to;
    case 'symlink':
      return operation.target;
    default:
      return '';
  }
}

function isLenient(operation: FileOperation): boolean {
  if (operation.op === 'mkdir') return operation.existOk === true;
  return 'missingOk' in operation && operation.missingOk === true;
}

/** Removes a tree below a directory descriptor-wise; never crosses a mount, never follows a symlink. Gone is success. */
export async function removeTree(tree: string): Promise<void> {
  const walk = binding.openRemoval(...parentAndName(tree));
  while ((await binding.stepRemoval(walk, STEP_MS)) === undefined);
}

/** Disk usage of a tree (st_blocks * 512, each inode once) without crossing mounts; pauses between directories. */
export async function diskUsage(
  tree: string,
  signal?: AbortSignal,
): Promise<{ readonly bytes: bigint; readonly inodes: bigint }> {
  const walk = binding.openUsage(...parentAndName(tree));
  try {
    for (;;) {
      const usage = await binding.stepUsage(walk, STEP_MS);
      if (usage !== undefined) return usage;
      await delay(PAUSE_MS, undefined, signal === undefined ? {} : { signal });
    }
  } finally {
    binding.endUsage(walk);
  }
}

/** One step of a walk, after which the thread is free for others. */
const STEP_MS = 10;
/** Keeps a measurement at a third of one processor at most. */
const PAUSE_MS = 20;

function parentAndName(tree: string): [parent: string, name: string] {
  const { dir, base } = path.parse(path.resolve(tree));
  if (base === '') throw new SystemError({ syscall: 'openat2', errno: 16, code: 'EBUSY', path: tree });
  return [dir, base];
}

/** syncfs(2) of the file system that holds the path. */
export function syncFilesystem(path: string): Promise<void> {
  return binding.syncFilesystem(path);
}
/** statfs(2). */
export function statFilesystem(path: string): {
  readonly type: number;
  readonly blockSize: number;
  readonly blocks: bigint;
  readonly blocksFree: bigint;
  readonly files: bigint;
  readonly filesFree: bigint;
} {
  return binding.statFilesystem(path);
}

const FS_TOPDIR_FL = 0x20000;

/**
 * Asks the file system to keep what lies in each subdirectory together, and apart from the other subdirectories
 * (`chattr +T`, man 1 chattr). ext4 looks for a free inode near a directory's own, and steps over each that was deleted
 * in the last minute: where directories come and go, that is most of the cost of a new file, unless they lie apart.
 * A file system that knows no such flag is left as it is.
 */
export function spreadSubdirectories(directory: string): void {
  try {
    binding.addInodeFlags(directory, FS_TOPDIR_FL);
  } catch (error) {
    const unknown = ['ENOTTY', 'EOPNOTSUPP', 'EINVAL', 'ENOSYS', 'EPERM'];
    if (!(error instanceof SystemError) || !unknown.includes(error.code)) throw error;
  }
}
