import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { SystemError } from './system-error.js';
import type { SeccompRule } from './seccomp.js';

export type Fd = number;

/** Names a handle on the event loop (a socket, a watch). Never reused. */
export type HandleId = number;

/** A walk over a tree, kept by the addon between two steps. */
export interface Walk {
  readonly walk: never;
}

/**
 * The functions of podwright.node as they are: positional arguments, handles by id, callbacks instead of promises
 * where the event loop is polled. Wrong types throw TypeError, everything else {@link SystemError}.
 */
/** One entry of each per file operation: kind, path, content or second path, mode, whether a result that stands already is taken. */
export type FileColumns = [
  kinds: readonly number[],
  paths: readonly string[],
  texts: readonly (string | Uint8Array)[],
  modes: readonly number[],
  lenient: readonly number[],
];

export interface Binding {
  setErrorClass(errorClass: typeof SystemError): void;

  spawn(
    file: string | Fd,
    argv: readonly string[],
    env: readonly string[],
    fds: readonly Fd[],
    cwd: string,
  ): { readonly pid: number; readonly pidfd: Fd };
  waitPidfd(pidfd: Fd, onExit: (code?: number, signal?: number, error?: SystemError) => void): void;
  pidfdOpen(pid: number): Fd;
  pidfdSendSignal(pidfd: Fd, signal: number): void;
  setUmask(mask: number): number;
  setWorkersAside(): void;
  trimMemory(): void;
  setChildSubreaper(on: boolean): void;
  raiseFileLimit(): number;

  seqpacketPair(): readonly [Fd, Fd];
  seqpacketConnect(dirFd: Fd, name: string): Fd;
  seqpacketListen(dirFd: Fd, name: string): Fd;
  seqpacketOpen(
    fd: Fd,
    onPacket: (data: Buffer, fds: readonly Fd[]) => void,
    onClose: (error?: SystemError) => void,
  ): { readonly id: HandleId; readonly pid: number; readonly uid: number; readonly gid: number };
  seqpacketSend(id: HandleId, data: Uint8Array, fds: readonly Fd[]): void;
  unixConnect(path: string): Fd;
  sendMessage(fd: Fd, data: Uint8Array, fds: readonly Fd[]): void;
  pollerClose(id: HandleId): void;
  pollerKeepAlive(id: HandleId, alive: boolean): void;

  pipe(): readonly [Fd, Fd];
  closeFd(fd: Fd): void;
  dupFd(fd: Fd): Fd;
  setNonBlocking(fd: Fd): void;
  sealedMemfd(name: string, content: Uint8Array, executable: boolean): Fd;
  openat2(dirFd: Fd, path: string, flags: number, mode: number, resolve: number): Fd;
  setWindowSize(fd: Fd, columns: number, rows: number): void;
  tryFlock(fd: Fd): boolean;

  mount(source: string, target: string, type: string, flags: number, data?: string): void;
  umount(target: string, flags: number): void;
  fsopen(type: string): Fd;
  fsconfigSet(fsFd: Fd, key: string, value?: string): void;
  fsconfigSetFd(fsFd: Fd, key: string, value: Fd): void;
  fsconfigCreate(fsFd: Fd): void;
  fsmount(fsFd: Fd, attributes: number): Fd;
  openTree(dirFd: Fd, path: string, flags: number): Fd;
  moveMount(fromFd: Fd, toDirFd: Fd, toPath: string): void;
  mountSetattr(
    mountFd: Fd,
    flags: number,
    set: number,
    clear: number,
    propagation: number,
    userNamespaceFd: Fd,
  ): void;

  bpfLoadCgroupDevice(instructions: Uint8Array): Fd;
  bpfAttachCgroupDevice(cgroupFd: Fd, programFd: Fd, replaceFd: Fd): void;
  bpfQueryCgroupDevice(cgroupFd: Fd): readonly Fd[];
  bpfDetachCgroupDevice(cgroupFd: Fd, programFd: Fd): void;
  compileSeccomp(
    defaultAction: number,
    architectures: readonly number[],
    rules: readonly SeccompRule[],
  ): Promise<{ readonly bpf: Buffer; readonly unknown: readonly string[] }>;
  seccompVersion(): string;
  watchPriority(fd: Fd, onEvent: () => void, onEnd: () => void): HandleId;
  watchCgroupEvent(
    eventControlPath: string,
    controlFd: Fd,
    args: string,
    onEvent: (count: bigint) => void,
  ): HandleId;
  openInotify(onEvent: (watch: number, mask: number, name: string) => void): HandleId;
  inotifyAdd(id: HandleId, path: string, mask: number): number;
  inotifyRemove(id: HandleId, watch: number): void;

  readFiles(paths: readonly string[]): Promise<readonly (string | SystemError)[]>;
  readFilesSync(paths: readonly string[]): readonly (string | SystemError)[];
  processCounts(
    directories: readonly string[],
  ): Promise<readonly (readonly [processes: number, descriptors: number, sockets: number] | undefined)[]>;
  fileBatch(...columns: FileColumns): Promise<void>;
  fileBatchSync(...columns: FileColumns): void;
  openRemoval(parent: string, name: string): Walk;
  stepRemoval(walk: Walk, budgetMs: number): Promise<true | undefined>;
  openUsage(parent: string, name: string): Walk;
  stepUsage(
    walk: Walk,
    budgetMs: number,
  ): Promise<{ readonly bytes: bigint; readonly inodes: bigint } | undefined>;
  endUsage(walk: Walk): void;
  syncFilesystem(path: string): Promise<void>;
  addInodeFlags(path: string, flags: number): void;
  statFilesystem(path: string): {
    readonly type: number;
    readonly blockSize: number;
    readonly blocks: bigint;
    readonly blocksFree: bigint;
    readonly files: bigint;
    readonly filesFree: bigint;
  };
}

const RELATIVE_PATH = 'native/build/Release/podwright.node';

/** The addon lies below the package root, which is some directory above this file: compiled or not. */
function findAddon(): string {
  const start = path.dirname(fileURLToPath(import.meta.url));
  for (let directory = start; ; directory = path.dirname(directory)) {
    const candidate = path.join(directory, RELATIVE_PATH);
    if (existsSync(candidate)) return candidate;
    if (directory === path.dirname(directory))
      throw new Error(`${RELATIVE_PATH} not found above ${start}: run "npm run build:native"`);
  }
}

function load(): Binding {
  const loaded = createRequire(import.meta.url)(findAddon()) as Binding;
  loaded.setErrorClass(SystemError);
  return loaded;
}

export const binding: Binding = load();

/** How a handle is closed: once it has ended, nothing happens. */
export function closer(id: HandleId): () => void {
  return () => {
    binding.pollerClose(id);
  };
}
