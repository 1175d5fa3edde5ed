import { readFile } from 'node:fs/promises';
import { constants } from 'node:fs';
import { closeFd, openat2, sealedMemfd, type Fd } from '../../native/index.js';

const AT_FDCWD = -100;
const O_PATH = 0x200000;
const O_CLOEXEC = 0x80000;

/**
 * The helper as one sealed file in memory, made once per start of the daemon and shared by every process it becomes: no
 * container can write to it.
 */
export async function openHelper(path: string): Promise<Fd> {
  return sealedMemfd('podwright-init', await readFile(path), true);
}

export function openDirectory(path: string): Fd {
  return openat2(AT_FDCWD, path, { flags: O_PATH | O_CLOEXEC | constants.O_DIRECTORY });
}

export function openNull(): Fd {
  return openat2(AT_FDCWD, '/dev/null', { flags: O_CLOEXEC | constants.O_RDWR });
}

/** For reading: a pinned namespace. */
export function openFile(path: string): Fd {
  return openat2(AT_FDCWD, path, { flags: O_CLOEXEC | constants.O_RDONLY });
}

/** A plan for a helper to read. */
export function planFile(plan: Uint8Array): Fd {
  return sealedMemfd('plan', plan, false);
}

/** Calls `use` with descriptors opened one after the other; all are closed when it is done. */
export async function withFds<T>(use: (keep: (fd: Fd) => Fd) => Promise<T>): Promise<T> {
  const opened: Fd[] = [];
  try {
    return await use((fd) => {
      opened.push(fd);
      return fd;
    });
  } finally {
    closeFds(opened);
  }
}

export function closeFds(fds: readonly Fd[]): void {
  for (const fd of fds) closeFd(fd);
}
