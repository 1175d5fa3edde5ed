import type { Readable, Writable } from 'node:stream';
import type { CgroupStats, ProcessCounts, StatsExtent } from '../cgroup/types.js';
import type { ProcessIdentity } from '../sandbox/types.js';
import type { NamespaceType, Resources, Spec } from '../spec/types.js';

/**
 * One workload in a sandbox. A value, replaced at every change; `state` holds what exists in that phase only.
 *
 *   creating → created → running ⇄ paused → exited → removing
 *                  └──────────────────────────┘
 *   any → unknown when recovery cannot tell
 */
export interface Container {
  readonly id: string;
  readonly request: ContainerRequest;
  readonly createdAtNs: bigint;
  readonly state: ContainerState;
  readonly cgroupPath: string;
  /** As started, with what the runtime added; `linux.resources` follows updates. */
  readonly spec: Spec;
  /** Host path of the log, undefined if it keeps none. */
  readonly logPath: string | undefined;
  readonly timingsMs: Readonly<Record<string, number>>;
}

export type ContainerState =
  | { readonly phase: 'creating' }
  | { readonly phase: 'created'; readonly init: ProcessIdentity }
  | { readonly phase: 'running'; readonly init: ProcessIdentity; readonly startedAtNs: bigint }
  | { readonly phase: 'paused'; readonly init: ProcessIdentity; readonly startedAtNs: bigint }
  | { readonly phase: 'exited'; readonly exit: Exit }
  | { readonly phase: 'removing'; readonly exit: Exit | undefined }
  | { readonly phase: 'unknown'; readonly message: string };

export type ContainerPhase = ContainerState['phase'];

export interface Exit {
  /** Exit code, or 128 + signal. */
  readonly code: number;
  readonly signal: number;
  readonly oomKilled: boolean;
  /** 0n: it never ran. */
  readonly startedAtNs: bigint;
  readonly finishedAtNs: bigint;
  /** Completed, Error, OOMKilled, StartError, Unknown: the field's words. */
  readonly reason: string;
  readonly message: string;
}

/** What the creator asks for. Written once, kept unchanged. */
export interface ContainerRequest {
  readonly sandboxId: string;
  /** Reserved until the container is removed. */
  readonly name: string;
  /** Opaque JSON of the caller, kept with the record. */
  readonly client: unknown;
  /**
   * Complete but for what the runtime adds: cgroupsPath, the namespaces below, and mounts of hosts, hostname, resolv.conf
   * and /dev/shm where the spec mounts nothing there. `linux.namespaces` lists only the container's own new ones.
   */
  readonly spec: Spec;
  /** Kinds that are the sandbox': network, ipc, uts, pid (the pod's shared one). A kind in neither list is the host's. */
  readonly sandboxNamespaces: readonly NamespaceType[];
  /** Id of the container of the same sandbox whose pid namespace this one joins. */
  readonly pidTarget?: string | undefined;
  readonly image: { readonly id: string; readonly chainId: string };
  readonly stdio: { readonly tty: boolean; readonly stdin: boolean; readonly stdinOnce: boolean };
  /** The log is `path` below `directory`; absent: output is drained and dropped. */
  readonly log: LogRequest | undefined;
  /** Images mounted read-only: what the spec's mounts of type `image` are, by destination. */
  readonly imageMounts?: readonly ImageMount[] | undefined;
  /** Destinations of image VOLUMEs: each gets a directory of its own, filled from the image. */
  readonly volumes: readonly string[];
  /** Signal number that asks init to end. */
  readonly stopSignal: number;
}

export interface LogRequest {
  readonly directory: string;
  readonly path: string;
  /** Output beyond it is counted and dropped. Absent or 0: none is. */
  readonly bytesPerSecond?: number | undefined;
}

export interface ImageMount {
  /** As in the spec's mount. */
  readonly destination: string;
  readonly image: { readonly id: string; readonly chainId: string };
  /** The directory of the image that is mounted; empty: its root. */
  readonly subPath: string;
}

export interface ExecRequest {
  readonly argv: readonly string[];
  /** 0: none */
  readonly timeoutMs: number;
}

export interface SessionRequest {
  /** Which of the streams the client wants; a terminal has no stderr of its own. */
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

export interface ExecSessionRequest extends SessionRequest {
  readonly argv: readonly string[];
  readonly tty: boolean;
}

/** A client's streams to a process, which end when the process does or when they are closed. */
export interface Session {
  readonly stdin: Writable | undefined;
  readonly stdout: Readable | undefined;
  readonly stderr: Readable | undefined;
  /** The exit code of what the session is with. */
  readonly exited: Promise<number>;
  /** The size of the terminal. */
  resize(columns: number, rows: number): Promise<void>;
  /** Closes the streams; an exec that still runs is killed with everything it started. */
  close(): void;
}

export interface ExecResult {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly exitCode: number;
}

export interface ContainerStats {
  readonly container: Container;
  readonly cgroup: CgroupStats | undefined;
  readonly writableLayer:
    | { readonly atNs: bigint; readonly path: string; readonly bytes: bigint; readonly inodes: bigint }
    | undefined;
  /** Read in `full` only. */
  readonly processes: ProcessFigures | undefined;
}

export interface ProcessFigures extends ProcessCounts {
  /** Soft limits of init by name (max_open_files, max_processes); undefined: none. */
  readonly softLimits: ReadonlyMap<string, bigint | undefined>;
}

export interface ContainerService {
  /** @throws NotFound (sandbox, image), FailedPrecondition (sandbox not ready), AlreadyExists (name), …; a failure leaves nothing */
  create(request: ContainerRequest, signal: AbortSignal): Promise<Container>;
  /** @throws FailedPrecondition unless created; a command that cannot be executed leaves it exited 128 StartError */
  start(id: string, signal: AbortSignal): Promise<void>;
  /** Stop signal, then SIGKILL after `timeoutMs`. Not running or gone is success; a later call with an earlier deadline moves it. */
  stop(id: string, timeoutMs: number, signal: AbortSignal): Promise<void>;
  /** Kills it if it runs. Gone is success. */
  remove(id: string, signal: AbortSignal): Promise<void>;
  pause(id: string): Promise<void>;
  resume(id: string): Promise<void>;
  /** Runs a command in it; output beyond 16 MiB per stream is dropped. @throws DeadlineExceeded, FailedPrecondition (not running) */
  execSync(id: string, request: ExecRequest, signal: AbortSignal): Promise<ExecResult>;
  /** Runs a command with streams. @throws FailedPrecondition (not running), InvalidArgument (the command) */
  exec(id: string, request: ExecSessionRequest): Promise<Session>;
  /** Streams to the container's own process. @throws FailedPrecondition unless running */
  attach(id: string, request: SessionRequest): Promise<Session>;
  /** @throws FailedPrecondition unless running */
  reopenLog(id: string): Promise<void>;
  /** Only the fields given change. */
  update(id: string, resources: Resources): Promise<void>;
  checkpoint(
    id: string,
    request: { readonly location: string; readonly timeoutMs: number },
    signal: AbortSignal,
  ): Promise<void>;
  /**
   * A new container that goes on where a checkpoint was taken; it runs afterwards. Its mounts, namespaces, devices and
   * limits are the request's. @throws as create, and InvalidArgument (archive), Unimplemented (shared pid namespace, terminal)
   */
  restore(request: ContainerRequest, archivePath: string, signal: AbortSignal): Promise<Container>;
  /** Usage of those that exist among these ids. Default `brief`: what a list of a node's containers shows. */
  stats(ids: readonly string[], extent?: StatsExtent): Promise<readonly ContainerStats[]>;
  /** By full id or an unambiguous prefix of it. */
  find(idOrPrefix: string): Container | undefined;
  list(): readonly Container[];
  /** The launch plan as text, for `verbose`. */
  describePlan(id: string): string | undefined;
  subscribe(listener: (change: ContainerChange) => void): () => void;
}

export interface ContainerChange {
  readonly kind: 'created' | 'started' | 'stopped' | 'removed' | 'changed';
  readonly container: Container;
}
