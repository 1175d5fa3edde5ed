/**
 * The typed surface of the native addon, and its only loader.
 *
 * One exported function is one system call or one library call. There is no policy here: flags, paths and
 * descriptors are the caller's. Every failure is a {@link SystemError} with the call's name and errno.
 * Descriptors are plain numbers, always opened close-on-exec; whoever receives one closes it.
 * Functions that can wait return a promise or take a callback and use libuv's poll, never its four threads,
 * except the file batches, whose work is bounded.
 */

export type { Fd } from './binding.js';
export { SystemError } from './system-error.js';

export * from './process.js';
export * from './process-counts.js';
export * from './socket.js';
export * from './descriptor.js';
export * from './mount.js';
export * from './bpf.js';
export * from './seccomp.js';
export * from './watch.js';
export * from './files.js';
