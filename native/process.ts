import { binding } from './binding.js';
import type { Fd } from './binding.js';

export interface SpawnOptions {
  /** The program: a path, or a descriptor of it (a sealed memfd, say); it is not handed on. */
  readonly file: string | Fd;
  readonly argv: readonly string[];
  /** "NAME=value". Default: none; nothing of our own environment is inherited. */
  readonly env?: readonly string[];
  /** Descriptors of the child: entry i becomes its descriptor i. `null` is /dev/null. Everything else is closed. */
  readonly fds: readonly (Fd | null)[];
  /** Default "/". */
  readonly cwd?: string;
}

export interface Spawned {
  readonly pid: number;
  readonly pidfd: Fd;
}

/**
 * posix_spawn(3): new session, empty signal mask, every signal at its default; the umask is ours (see
 * {@link setUmask}). Returns when the program has been executed, after about 0.05 ms; what fails before (cwd, the
 * program) is the error.
 */
export function spawn(options: SpawnOptions): Spawned {
  return binding.spawn(
    options.file,
    options.argv,
    options.env ?? [],
    options.fds.map((fd) => fd ?? -1),
    options.cwd ?? '/',
  );
}

export interface ExitStatus {
  /** Exit code, or 128 + signal. */
  readonly code: number;
  readonly signal: number;
}

/**
 * Resolves when the process behind the pidfd has ended; closes the pidfd. For our own child it is reaped and its
 * status returned; for any other process (adopted after a restart) the status is undefined.
 */
export function waitPidfd(pidfd: Fd): Promise<ExitStatus | undefined> {
  return new Promise((resolve, reject) => {
    binding.waitPidfd(pidfd, (code, signal, error) => {
      if (error !== undefined) reject(error);
      else resolve(code === undefined ? undefined : { code, signal: signal ?? 0 });
    });
  });
}

/** pidfd_open(2). */
export function pidfdOpen(pid: number): Fd {
  return binding.pidfdOpen(pid);
}
/** pidfd_send_signal(2). */
export function pidfdSendSignal(pidfd: Fd, signal: number): void {
  binding.pidfdSendSignal(pidfd, signal);
}

/** Raises the soft NOFILE limit to the hard one; returns it. */
export function raiseFileLimit(): number {
  return binding.raiseFileLimit();
}

/** umask(2) of the whole process, children included; returns the former one. To be set once, at start. */
export function setUmask(mask: number): number {
  return binding.setUmask(mask);
}

/**
 * SCHED_BATCH (man 7 sched) for all threads of this process but the main one: the thread pool and V8's helpers, where they
 * have been started with the ordinary policy. They get their share of the processors, but do not take the main thread's when they are woken by it.
 */
export function setWorkersAside(): void {
  binding.setWorkersAside();
}

/** malloc_trim(3) of everything that is free. */
export function trimMemory(): void {
  binding.trimMemory();
}

/** prctl(PR_SET_CHILD_SUBREAPER): orphans below us become our children. */
export function setChildSubreaper(on: boolean): void {
  binding.setChildSubreaper(on);
}
