import { close, constants, fstat, read, type Stats } from 'node:fs';
import { opendir, readlink } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { closeFd, openat2, type Fd } from '../../native/index.js';
import { isErrno, RuntimeError } from '../errors.js';
import * as flags from './open-flags.js';
import type { View } from './types.js';

const fstatOf = promisify(fstat);
const readInto = promisify(read);
const closeOf = promisify(close);

/** Names that one directory may have before {@link View.list} refuses it. */
const LIST_LIMIT = 100_000;

/**
 * Reads below a descriptor. Everything is opened twice: first as a mere path, which has no effect whatever it is, and
 * for reading only when that proved to be a regular file (or directory).
 */
export class TreeView implements View {
  private root: Fd | undefined;

  /** Takes over the descriptor. */
  constructor(
    root: Fd,
    private readonly onClose: () => void = () => undefined,
  ) {
    this.root = root;
  }

  async readFile(file: string, maxBytes: number): Promise<Buffer> {
    return this.withPath(file, async (fd, stats) => {
      if (!stats.isFile()) throw refusal('FailedPrecondition', 'read', file, 'no regular file');
      if (stats.size > maxBytes)
        throw refusal('ResourceExhausted', 'read', file, `longer than ${maxBytes} bytes`);
      return readWhole(fd, stats.size);
    });
  }

  async stat(file: string): Promise<Stats | undefined> {
    try {
      return await this.withPath(file, (_fd, stats) => Promise.resolve(stats));
    } catch (error) {
      if (error instanceof RuntimeError && error.code === 'NotFound') return undefined;
      throw error;
    }
  }

  async readlink(file: string): Promise<string> {
    const { dir, base } = path.posix.parse(file);
    if (base === '' || base === '.' || base === '..') {
      throw refusal('FailedPrecondition', 'read link', file, 'no symbolic link');
    }
    return this.withPath(dir, async (fd) => {
      try {
        return await readlink(`/proc/self/fd/${fd}/${base}`);
      } catch (error) {
        if (isErrno(error, 'EINVAL'))
          throw refusal('FailedPrecondition', 'read link', file, 'no symbolic link');
        if (isErrno(error, 'ENOENT', 'ENOTDIR')) throw refusal('NotFound', 'read link', file, 'no such file');
        throw error;
      }
    });
  }

  async list(directory: string): Promise<readonly string[]> {
    return this.withPath(directory, async (fd, stats) => {
      if (!stats.isDirectory()) throw refusal('FailedPrecondition', 'list', directory, 'no directory');
      const names: string[] = [];
      for await (const { name } of await opendir(`/proc/self/fd/${fd}`, {
        encoding: 'latin1' as BufferEncoding,
      })) {
        if (names.length === LIST_LIMIT)
          throw refusal('ResourceExhausted', 'list', directory, 'too many names');
        names.push(name);
      }
      return names;
    });
  }

  /** A descriptor of a directory in the tree, the caller's to close; undefined if there is none. */
  openDirectory(directory: string): Fd | undefined {
    try {
      return this.open(directory, flags.O_PATH | constants.O_DIRECTORY);
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG')) return undefined;
      throw error;
    }
  }

  close(): void {
    if (this.root === undefined) return;
    closeFd(this.root);
    this.root = undefined;
    this.onClose();
  }

  private async withPath<T>(file: string, use: (fd: Fd, stats: Stats) => Promise<T>): Promise<T> {
    let fd: Fd;
    try {
      fd = this.open(file, flags.O_PATH);
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG')) throw notFound(file, error);
      throw error;
    }
    try {
      const stats = await fstatOf(fd);
      if (isWhiteout(stats)) throw notFound(file, undefined);
      return await use(fd, stats);
    } finally {
      await closeOf(fd);
    }
  }

  private open(file: string, how: number): Fd {
    if (this.root === undefined) throw new RuntimeError('Internal', 'use a view that is closed');
    if (file.includes('\0'))
      throw new RuntimeError('InvalidArgument', 'open in image', { cause: 'path with a NUL byte' });
    const inside = file.replace(/^\/+/, '') || '.';
    const resolve = flags.RESOLVE_IN_ROOT | flags.RESOLVE_NO_MAGICLINKS;
    return openat2(this.root, inside, { flags: how | flags.O_CLOEXEC, resolve });
  }
}

/** Overlayfs hides its whiteouts; in the view of a single layer, which is its plain directory, they are still there. */
function isWhiteout(stats: Stats): boolean {
  return stats.isCharacterDevice() && stats.rdev === 0;
}

/** Reads a regular file that is open as a path, at most the size it had. */
async function readWhole(pathFd: Fd, size: number): Promise<Buffer> {
  const fd = openat2(flags.AT_FDCWD, `/proc/self/fd/${pathFd}`, {
    flags: constants.O_RDONLY | flags.O_CLOEXEC,
  });
  try {
    const content = Buffer.alloc(size);
    let length = 0;
    while (length < size) {
      const { bytesRead } = await readInto(fd, content, length, size - length, length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return content.subarray(0, length);
  } finally {
    await closeOf(fd);
  }
}

function refusal(
  code: 'FailedPrecondition' | 'NotFound' | 'ResourceExhausted',
  op: string,
  file: string,
  cause: string,
) {
  return new RuntimeError(code, `${op} in image`, { subject: file, cause });
}

function notFound(file: string, cause: unknown): RuntimeError {
  return new RuntimeError('NotFound', 'open in image', { subject: file, cause: cause ?? 'no such file' });
}
