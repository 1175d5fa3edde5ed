import type { Logger } from '../base/logger.js';
import type { CgroupDriver } from '../cgroup/types.js';
import type { ContainerPlanOptions, ExecPlanOptions, OverlayRootfs } from '../plan/options.js';
import type { RestorePlan, RestorePlanOptions } from '../plan/restore-plan.js';
import type { Plan } from '../plan/steps.js';
import type { Sandbox } from '../sandbox/types.js';
import type { SeccompProgram } from '../seccomp/index.js';
import type { ImageLayers } from '../snapshot/types.js';
import type { Seccomp, Spec } from '../spec/types.js';
import type { Fd } from '../../native/index.js';
import type { StepFailure } from '../errors.js';
import type { ContainerRequest, ContainerStats } from './types.js';

export { StepError } from '../errors.js';
export type { ContainerPlanOptions, ExecPlanOptions, OverlayRootfs } from '../plan/options.js';
export type { SeccompProgram } from '../seccomp/index.js';

/** What the container room is given by the composition root. */
export interface ContainerDeps {
  /** Records: `<root>/containers/<id>`, which the snapshotter's upper and work directories share. */
  readonly containersDir: string;
  /** What dies with the boot: `<state>/containers/<id>`. */
  readonly stateContainersDir: string;
  readonly bootId: string;
  /** Hard NOFILE limit of the daemon, which processes get beside a soft 1024. */
  readonly fileLimit: number;
  readonly logger: Logger;
  readonly cgroups: CgroupDriver;
  readonly sandboxes: { find(id: string): Sandbox | undefined };
  readonly images: ImagePins;
  readonly snapshots: ContainerSnapshots;
  readonly monitors: Monitors;
  readonly plans: PlanCompiler;
  readonly checkpointer: Checkpointer | undefined;
  /** Carries bytes between a terminal's master and two pipes until either side ends; takes copies. */
  readonly relayTerminal: (ends: { readonly master: Fd; readonly input: Fd; readonly output: Fd }) => void;
}

/** Keeps an image's layers while a container uses them. */
export interface ImagePins {
  pin(imageId: string, owner: string): void;
  unpin(imageId: string, owner: string): void;
}

export interface ContainerSnapshots {
  /** What an image is mounted from, read-only. @throws NotFound when a layer is missing */
  layersOf(chainId: string): ImageLayers;
  /** Makes the writable layer of a container over an image's layers. @throws NotFound when a layer is missing */
  prepare(id: string, chainId: string): Promise<OverlayRootfs>;
  /** The writable layer from the moment its making was begun. */
  find(id: string): OverlayRootfs | undefined;
  /** Fills a host directory with what the image has at `containerPath` (nothing if it has nothing there). */
  copyOut(chainId: string, containerPath: string, hostDirectory: string): Promise<void>;
  remove(id: string): Promise<void>;
  usage(id: string): Promise<ContainerStats['writableLayer']>;
  /** Removes writable layers of containers that are not in the set. */
  sweep(living: ReadonlySet<string>): Promise<void>;
  /** Applies a layer to a writable layer that nothing has mounted yet. */
  applyDiff(id: string, source: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void>;
}

export interface PlanCompiler {
  seccomp(profile: Seccomp): Promise<SeccompProgram>;
  container(options: ContainerPlanOptions): Plan;
  restore(options: RestorePlanOptions): RestorePlan;
  exec(options: ExecPlanOptions): Plan;
  encode(plan: Plan): Buffer;
  print(plan: Plan): string;
  /** The error of a failed step in the user's terms. */
  explain(plan: Plan, failure: StepFailure): Error;
}

/** A monitor process without a container yet; it ends when it is released, or we end. */
export interface SpawnedMonitor {
  /** After its launch it does nothing. */
  release(): void;
}

export interface Monitors {
  /** Starts the process of a monitor ahead of its launch, while other things are still being made. */
  spawn(containerId: string): SpawnedMonitor;
  /** Has a spawned monitor run the plan up to the exec fifo. @throws the step's failure as {@link StepError} */
  launch(options: MonitorLaunch, signal: AbortSignal): Promise<Monitor>;
  /** Connects to the monitor of a state directory; undefined if none answers. */
  adopt(stateDir: string): Promise<AdoptedMonitor | undefined>;
  /** The exit record a monitor left. */
  readExit(stateDir: string): Promise<MonitorExit | undefined>;
  /** Kills a monitor that was spawned for this container and never answered, if there is one. */
  killStray(containerIds: ReadonlySet<string>): Promise<void>;
}

export interface MonitorLaunch {
  readonly spawned: SpawnedMonitor;
  readonly containerId: string;
  readonly stateDir: string;
  readonly plan: Buffer;
  readonly stdio: { readonly tty: boolean; readonly stdin: boolean; readonly stdinOnce: boolean };
  readonly log: ContainerRequest['log'];
  readonly oomPath: string | undefined;
  readonly killPath: string;
  /** Kill the rest of the cgroup when init ends (shared or host pid namespace). */
  readonly killCgroup: boolean;
  /** The plan executes a program that makes init; resolves when it runs, and {@link Monitor.becomeInit} names init. */
  readonly restore?: boolean | undefined;
  /** What the plan finds in its slots from `passed` on. */
  readonly passedFds?: readonly Fd[] | undefined;
  readonly onLog: (level: number, message: string) => void;
}

export interface Monitor {
  readonly init: { readonly pid: number; readonly startTime: string };
  /** Never rejects: the monitor's word, its record, or `lost`. */
  readonly exited: Promise<MonitorExit>;
  /** Releases init; resolves when the command runs. @throws {@link StepError} */
  start(): Promise<{ readonly atNs: bigint }>;
  /** Of a launch with `restore`: the container's init, a child of the monitor. */
  becomeInit(pid: number): Promise<{ readonly atNs: bigint }>;
  exec(options: MonitorExec): Promise<MonitorExecution>;
  signal(signal: number): Promise<void>;
  /** The size of the container's terminal. */
  resize(columns: number, rows: number): Promise<void>;
  /** Connects copies of these ends of pipes to the container's output from now on, and to its input. */
  attach(ends: {
    readonly stdin?: Fd | undefined;
    readonly stdout?: Fd | undefined;
    readonly stderr?: Fd | undefined;
  }): Promise<void>;
  reopenLog(): Promise<void>;
  /** Lets go of the connection; the monitor goes on. */
  close(): void;
}

export interface AdoptedMonitor {
  readonly phase: 'creating' | 'created' | 'running' | 'exited';
  readonly startedAtNs: bigint;
  readonly monitor: Monitor;
}

export interface MonitorExit {
  readonly code: number;
  readonly signal: number;
  readonly oomKilled: boolean;
  readonly startedAtNs: bigint;
  readonly finishedAtNs: bigint;
  /** Set when init never became the command. */
  readonly failure: StepFailure | undefined;
  /** The monitor died before it could tell. */
  readonly lost: boolean;
}

export interface MonitorExec {
  readonly plan: Buffer;
  /** A terminal instead of the three descriptors; its master comes back. */
  readonly tty?: boolean | undefined;
  readonly stdin?: Fd | undefined;
  readonly stdout?: Fd | undefined;
  readonly stderr?: Fd | undefined;
  /** Host path of the exec's sub-cgroup: killed when the request's connection ends. */
  readonly cgroupPath: string | undefined;
}

export interface MonitorExecution {
  readonly pid: number;
  /** The master of an exec with a terminal: the caller's to close. */
  readonly terminal?: Fd | undefined;
  readonly exited: Promise<{ readonly code: number; readonly signal: number }>;
  /** SIGKILL to everything the exec started. */
  kill(): Promise<void>;
}

/** Dumps a running container into an archive, and reads one back (runtime/checkpoint). */
export interface Checkpointer {
  checkpoint(options: CheckpointOptions, signal: AbortSignal): Promise<void>;
  /** Reads an archive into a directory of ours. @throws InvalidArgument, NotFound, FailedPrecondition (no CRIU) */
  open(archivePath: string, containerId: string, signal: AbortSignal): Promise<OpenCheckpoint>;
}

/** An archive that was read: what a new container is restored from. */
export interface OpenCheckpoint {
  /** CRIU. */
  readonly program: string;
  /** The container's writable layer, as a tar. */
  writableLayer(): AsyncIterable<Uint8Array>;
  /** Has a CRIU that waits on `socket` (ours to close) make the container's processes. */
  restore(options: RestoreOptions, signal: AbortSignal): Promise<void>;
  /** Removes what was read. */
  close(): Promise<void>;
}

/** What the processes that CRIU made are held against. */
export interface RestoredProcesses extends Pick<RestorePlan, 'mounts'> {
  readonly spec: Spec;
  /** Everything in the container's cgroup, CRIU too. */
  processes(): Promise<readonly number[]>;
}

export interface RestoreOptions extends RestoredProcesses, Pick<RestorePlan, 'namespaces'> {
  readonly socket: Fd;
  /** Mount point of the rootfs where CRIU runs. */
  readonly root: string;
  /** Init is made and stands still; nothing of the container has run yet. */
  readonly onInit: (pid: number) => Promise<void>;
  /** Kills all of the cgroup: what CRIU made must not run. */
  kill(): Promise<void>;
}

export interface CheckpointOptions {
  readonly id: string;
  readonly name: string;
  readonly spec: Spec;
  readonly init: { readonly pid: number; readonly startTime: string };
  readonly cgroupPath: string;
  readonly imageId: string;
  readonly client: unknown;
  readonly createdAtNs: bigint;
  readonly startedAtNs: bigint;
  readonly logPath: string | undefined;
  readonly location: string;
  readonly timeoutMs: number;
}
