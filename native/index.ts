import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { binding } from './binding.js';
import type { HandleId } from './binding.js';
import { SystemError } from './system-error.js';

export { SystemError };

/**
 * The typed surface of the native addon, and its only loader.
 *
 * One exported function is one system call or one library call. There is no policy here: flags, paths and
 * descriptors are the caller's. Every failure is a {@link SystemError} with the call's name and errno.
 * Descriptors are plain numbers, always opened close-on-exec; whoever receives one closes it.
 * Functions that can wait return a promise or take a callback and use libuv's poll, never its four threads,
 * except the file batches, whose work is bounded.
 */

export type Fd = number;

// ---- processes -----------------------------------------------------------------------------------------------------

export interface SpawnOptions {
  /** The program: a path, or a descriptor of it (executed as /proc/self/fd/N). */
  readonly file: string | Fd;
  readonly argv: readonly string[];
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

/** posix_spawn(3): new session, empty signal mask, every signal at its default, umask 022. Takes about 0.05 ms. */
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

// ---- sockets -------------------------------------------------------------------------------------------------------

export interface Packet {
  readonly data: Buffer;
  /** Descriptors that came with SCM_RIGHTS, close-on-exec. The receiver owns them. */
  readonly fds: readonly Fd[];
}

export interface SeqpacketHandlers {
  readonly onPacket: (packet: Packet) => void;
  /** The peer is gone or the socket failed; called once, after the last packet. */
  readonly onClose: (error?: SystemError) => void;
}

/** One SOCK_SEQPACKET connection. Packets are at most 64 KiB; a send that would block is queued in order. */
export interface SeqpacketSocket {
  send(data: Uint8Array, fds?: readonly Fd[]): void;
  close(): void;
  /** SO_PEERCRED of the peer. */
  readonly peer: { readonly pid: number; readonly uid: number; readonly gid: number };
  /** Whether it keeps the event loop alive (default true). */
  ref(): void;
  unref(): void;
}

function closer(id: HandleId): () => void {
  return () => {
    binding.pollerClose(id);
  };
}

/** socketpair(2), SOCK_SEQPACKET. */
export function seqpacketPair(): readonly [Fd, Fd] {
  return binding.seqpacketPair();
}
/** Takes over a connected SEQPACKET descriptor. */
export function seqpacketOpen(fd: Fd, handlers: SeqpacketHandlers): SeqpacketSocket {
  const { id, pid, uid, gid } = binding.seqpacketOpen(
    fd,
    (data, fds) => {
      handlers.onPacket({ data, fds });
    },
    (error) => {
      handlers.onClose(error);
    },
  );
  return {
    send: (data, fds = []) => {
      binding.seqpacketSend(id, data, fds);
    },
    close: closer(id),
    peer: { pid, uid, gid },
    ref: () => {
      binding.pollerKeepAlive(id, true);
    },
    unref: () => {
      binding.pollerKeepAlive(id, false);
    },
  };
}
/** connect(2) to the socket `name` in the directory `dirFd` (through /proc/self/fd, so no 108-byte limit). */
export function seqpacketConnect(dirFd: Fd, name: string, handlers: SeqpacketHandlers): SeqpacketSocket {
  return seqpacketOpen(binding.seqpacketConnect(dirFd, name), handlers);
}

// ---- descriptors ---------------------------------------------------------------------------------------------------

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

// ---- mounts and namespaces -----------------------------------------------------------------------------------------

/** mount(2). */
export function mount(source: string, target: string, type: string, flags: number, data?: string): void {
  binding.mount(source, target, type, flags, data);
}
/** umount2(2). */
export function umount(target: string, flags: number): void {
  binding.umount(target, flags);
}
export function fsopen(type: string): Fd {
  return binding.fsopen(type);
}
/** fsconfig(2): a string value, or a flag where value is undefined; `create` is FSCONFIG_CMD_CREATE. */
export function fsconfigSet(fsFd: Fd, key: string, value?: string): void {
  binding.fsconfigSet(fsFd, key, value);
}
export function fsconfigCreate(fsFd: Fd): void {
  binding.fsconfigCreate(fsFd);
}
export function fsmount(fsFd: Fd, attributes: number): Fd {
  return binding.fsmount(fsFd, attributes);
}
/** A detached mount (open_tree with OPEN_TREE_CLONE). */
export function openTree(dirFd: Fd, path: string, flags: number): Fd {
  return binding.openTree(dirFd, path, flags);
}
export function moveMount(fromFd: Fd, toDirFd: Fd, toPath: string): void {
  binding.moveMount(fromFd, toDirFd, toPath);
}

// ---- kernel interfaces ---------------------------------------------------------------------------------------------

/** BPF_PROG_LOAD of a cgroup device program; `instructions` are struct bpf_insn, little endian. */
export function bpfLoadCgroupDevice(instructions: Uint8Array): Fd {
  return binding.bpfLoadCgroupDevice(instructions);
}
/** BPF_PROG_ATTACH (BPF_F_ALLOW_MULTI) to a cgroup v2 directory; `replaceFd` replaces an attached program. */
export function bpfAttachCgroupDevice(cgroupFd: Fd, programFd: Fd, replaceFd?: Fd): void {
  binding.bpfAttachCgroupDevice(cgroupFd, programFd, replaceFd ?? -1);
}
/** BPF_PROG_QUERY: descriptors of the device programs attached to the cgroup. */
export function bpfQueryCgroupDevice(cgroupFd: Fd): readonly Fd[] {
  return binding.bpfQueryCgroupDevice(cgroupFd);
}
export function bpfDetachCgroupDevice(cgroupFd: Fd, programFd: Fd): void {
  binding.bpfDetachCgroupDevice(cgroupFd, programFd);
}

/** One rule of {@link compileSeccomp}: an action for the system calls named, under all of the conditions. */
export interface SeccompRule {
  readonly names: readonly string[];
  /** Raw SCMP_ACT_* value, errno or trace data included. */
  readonly action: number;
  readonly args: readonly {
    readonly index: number;
    readonly value: bigint;
    readonly valueTwo: bigint;
    /** Raw enum scmp_compare. */
    readonly op: number;
  }[];
}

export interface SeccompFilter {
  readonly defaultAction: number;
  /** Raw SCMP_ARCH_* tokens besides the native one. */
  readonly architectures: readonly number[];
  readonly rules: readonly SeccompRule[];
}

/**
 * Compiles with libseccomp (binary tree) on a worker thread: 15-30 ms. Names libseccomp does not know are skipped
 * and returned.
 */
export function compileSeccomp(
  filter: SeccompFilter,
): Promise<{ readonly bpf: Buffer; readonly unknown: readonly string[] }> {
  return binding.compileSeccomp(filter.defaultAction, filter.architectures, filter.rules);
}
/** "2.5.4" */
export function seccompVersion(): string {
  return binding.seccompVersion();
}

export interface Watch {
  /** Ends it; safe to repeat. Nothing is called back afterwards. */
  close(): void;
}

/**
 * poll(2) for POLLPRI on an open kernel file (PSI trigger, cgroup events); calls back for every event until closed.
 * The descriptor stays the caller's. `onEnd`: the cgroup is gone and the watch has closed itself.
 */
export function watchPriority(fd: Fd, onEvent: () => void, onEnd: () => void = () => {}): Watch {
  const id = binding.watchPriority(fd, onEvent, onEnd);
  return { close: closer(id) };
}
/** An eventfd registered on a v1 control file: writes "EVENTFD FD ARGS" to cgroup.event_control. */
export function watchCgroupEvent(
  eventControlPath: string,
  controlFd: Fd,
  args: string,
  onEvent: (count: bigint) => void,
): Watch {
  return { close: closer(binding.watchCgroupEvent(eventControlPath, controlFd, args, onEvent)) };
}

export interface Inotify {
  /** Returns the watch descriptor. */
  add(path: string, mask: number): number;
  remove(watch: number): void;
  close(): void;
}
/** The process-wide inotify instance is the caller's to share: the limit is 128 per user. */
export function openInotify(onEvent: (watch: number, mask: number, name: string) => void): Inotify {
  const id = binding.openInotify(onEvent);
  return {
    add: (target, mask) => binding.inotifyAdd(id, target, mask),
    remove: (watch) => {
      binding.inotifyRemove(id, watch);
    },
    close: closer(id),
  };
}

// ---- file batches --------------------------------------------------------------------------------------------------

export type FileResult = string | SystemError;

/** Reads many small files (kernel interfaces) in one hop of the thread pool; at most 1 MiB each, latin1. */
export function readFiles(paths: readonly string[]): Promise<readonly FileResult[]> {
  return binding.readFiles(paths);
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
  return binding.fileBatch(
    operations.map(({ op }) => FILE_OPERATIONS.indexOf(op)),
    operations.map((operation) => operation.path),
    operations.map(textOf),
    operations.map((operation) => ('mode' in operation ? operation.mode : 0)),
    operations.map((operation) => (isLenient(operation) ? 1 : 0)),
  );
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
export async function diskUsage(tree: string): Promise<{ readonly bytes: bigint; readonly inodes: bigint }> {
  const walk = binding.openUsage(...parentAndName(tree));
  for (;;) {
    const usage = await binding.stepUsage(walk, STEP_MS);
    if (usage !== undefined) return usage;
    await delay(PAUSE_MS);
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

// ---- start-up ------------------------------------------------------------------------------------------------------

/** Raises the soft NOFILE limit to the hard one; returns it. */
export function raiseFileLimit(): number {
  return binding.raiseFileLimit();
}
