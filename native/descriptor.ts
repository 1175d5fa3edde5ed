import { binding } from './binding.js';
import type { Fd } from './binding.js';

/** pipe2(O_CLOEXEC): [read end, write end]. Wrap an end in `new net.Socket({ fd })` to use it without blocking. */
export function pipe(): readonly [Fd, Fd] {
  return binding.pipe();
}
export function closeFd(fd: Fd): void {
  binding.closeFd(fd);
}
export function dupFd(fd: Fd): Fd {
  return binding.dupFd(fd);
}
/** O_NONBLOCK, for whoever shares the open file. */
export function setNonBlocking(fd: Fd): void {
  binding.setNonBlocking(fd);
}
/** memfd_create(2) filled with `content` and sealed against every change; `executable` adds MFD_EXEC (mode 0755). */
export function sealedMemfd(name: string, content: Uint8Array, executable: boolean): Fd {
  return binding.sealedMemfd(name, content, executable);
}
/** openat2(2). `dirFd` -100 is the working directory. */
export function openat2(
  dirFd: Fd,
  path: string,
  how: { flags: number; mode?: number; resolve?: number },
): Fd {
  return binding.openat2(dirFd, path, how.flags, how.mode ?? 0, how.resolve ?? 0);
}
/** ioctl TIOCSWINSZ on a pty master. */
export function setWindowSize(fd: Fd, columns: number, rows: number): void {
  binding.setWindowSize(fd, columns, rows);
}
/** flock(LOCK_EX | LOCK_NB); false if somebody else holds it. */
export function tryFlock(fd: Fd): boolean {
  return binding.tryFlock(fd);
}
