import type { CgroupJoin } from '../cgroup/types.js';
import type { SeccompProgram } from '../seccomp/index.js';
import type { ImageLayers } from '../snapshot/types.js';
import type { Process, Spec } from '../spec/types.js';
import type { PlanStep } from './steps.js';
import type { IdMaps } from './user-namespace.js';

/** What a container's plan is compiled from. */
export interface ContainerPlanOptions {
  readonly spec: Spec;
  readonly rootfs: OverlayRootfs | PathRootfs;
  /** An existing host directory on which the rootfs is attached, inside the container's mount namespace only. */
  readonly rootfsMountpoint: string;
  /** Absent for a container without one (OCI command line). */
  readonly sandbox?: SandboxRef | undefined;
  /** The process whose pid namespace the spec names by its /proc/PID/ns/pid path. */
  readonly pidTarget?: { readonly pid: number; readonly startTime: string } | undefined;
  /** What mounts of type `image` in the spec are made from, by destination. */
  readonly imageMounts?: ReadonlyMap<string, ImageTree> | undefined;
  readonly cgroup: CgroupRef;
  readonly seccomp: SeccompProgram | undefined;
  /** Hard NOFILE limit where the spec sets none. */
  readonly fileLimit: number;
  readonly keyringName: string;
}

export interface OverlayRootfs {
  readonly kind: 'overlay';
  readonly layersDir: string;
  /** Names below `layersDir`, the top layer first. */
  readonly lower: readonly string[];
  readonly upper: string;
  readonly work: string;
}

/** An image to be mounted read-only. */
export interface ImageTree extends ImageLayers {
  /** The directory of the image that is mounted; empty: its root. */
  readonly subPath: string;
}

export interface PathRootfs {
  readonly kind: 'path';
  readonly path: string;
}

/** The pause process whose namespaces the container joins: those the spec names by /proc/PID/ns paths of its pid. */
export interface SandboxRef {
  readonly pid: number;
  /** Decimal clock ticks. */
  readonly startTime: string;
  readonly sharedPid: boolean;
  /** Where /dev/shm comes from unless the spec mounts something there. */
  readonly shm: 'pause' | 'host' | 'none';
}

export interface CgroupRef extends CgroupJoin {
  /** Host directory per controller ("" is the unified tree), for a mount of type cgroup. */
  readonly directories: ReadonlyMap<string, string>;
}

/** What a plan for another process in a running container is compiled from. */
export interface ExecPlanOptions {
  /** The container's: tells which namespaces it has. */
  readonly spec: Spec;
  readonly process: Process;
  readonly init: { readonly pid: number; readonly startTime: string };
  readonly sharedPid: boolean;
  readonly cgroup: CgroupJoin;
  readonly seccomp: SeccompProgram | undefined;
  readonly fileLimit: number;
  readonly keyringName: string;
}

/** What a sandbox' pause process is compiled from. */
export interface PausePlanOptions {
  readonly namespaces: {
    readonly network: 'pod' | 'host';
    readonly pid: 'pod' | 'container' | 'host';
    readonly ipc: 'pod' | 'host';
  };
  /** Absent: the host's. */
  readonly userNamespace?: IdMaps | undefined;
  /** Empty: the host's. */
  readonly hostname: string;
  readonly sysctls: Readonly<Record<string, string>>;
  readonly shmSizeBytes: number;
  /** Host path of the file on which the network namespace is pinned. */
  readonly pinNetns: string | undefined;
  /** The parent's steps run before the child's. */
  readonly network: { readonly parentSteps: readonly PlanStep[]; readonly childSteps: readonly PlanStep[] };
  readonly cgroup: CgroupJoin;
  readonly oomScoreAdj?: number | undefined;
}
