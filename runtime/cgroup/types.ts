import type { ProcessCounts } from '../../native/index.js';
import type { Resources } from '../spec/types.js';

export type { ProcessCounts };

/**
 * Control groups as the rest of the runtime sees them.
 *
 * A driver knows how this host lays out its hierarchies: `v1` (one per controller), `hybrid` (v1 and a unified tree that
 * holds no resource controllers but gives cgroup.kill, `populated` and device programs) or `v2`. A {@link Cgroup} is one
 * directory in each of them. Its life: `path()` names it (that name goes into the record first), `create()` makes it with
 * limits set and before any process is in it, processes enter by {@link CgroupJoin}, `remove()` ends it. `open()` is what
 * recovery uses: it makes nothing.
 */
export interface CgroupDriver {
  readonly name: 'cgroupfs' | 'systemd';
  readonly mode: 'v1' | 'hybrid' | 'v2';
  /** Controllers that can be limited here ("cpu", "memory", …). */
  readonly controllers: ReadonlySet<string>;
  /**
   * The path of an object's cgroup below every hierarchy, `/kubepods/pod1/<id>`. An empty parent is the driver's own.
   * @throws InvalidArgument for a parent that is relative, climbs or belongs to the other driver
   */
  path(parent: string, id: string): string;
  /**
   * `here` makes it in the calling thread, before this returns; `aside` in another one, while the caller does something
   * else.
   * @throws InvalidArgument for values the kernel refuses, FailedPrecondition for a controller the host lacks; nothing is left then
   */
  create(path: string, resources: Resources | undefined, where?: 'here' | 'aside'): Promise<Cgroup>;
  open(path: string): Cgroup;
  /**
   * Figures of many cgroups in one hop; undefined where the cgroup is gone. `brief` reads what a list of a node's
   * containers shows (CPU and memory usage, memory limits, pressure); `pod` the number of processes as well; `full`
   * throttling, CPU by mode, details of memory, OOM kills, huge pages and I/O by device too: every file costs the kernel
   * a walk, and lists are asked for all the time.
   */
  stats(paths: readonly string[], extent?: StatsExtent): Promise<readonly (CgroupStats | undefined)[]>;
  /** Who is in these cgroups and what they have open, in one hop; undefined where the cgroup is gone. */
  countProcesses(paths: readonly string[]): Promise<readonly (ProcessCounts | undefined)[]>;
}

export type StatsExtent = 'full' | 'pod' | 'brief';

/** How a process gets in: the launcher writes "0" to each v1 file, the child is cloned into the unified directory. */
export interface CgroupJoin {
  readonly v1TasksPaths: readonly string[];
  readonly unifiedPath: string | undefined;
}

export interface Cgroup {
  readonly path: string;
  readonly join: CgroupJoin;
  /** Directory per v1 controller (and "" for the unified tree), as OCI state prints them. */
  readonly directories: ReadonlyMap<string, string>;
  /** The file with the `oom_kill` counter: memory.events (v2) or memory.oom_control (v1); undefined without memory controller. */
  readonly oomPath: string | undefined;
  /** cgroup.kill of the unified tree, or cgroup.procs of one v1 hierarchy. */
  readonly killPath: string;
  /**
   * Applies new limits; what was set before is put back if one fails, and the first error thrown. Returns the way back to
   * what was set before, for a caller who fails later.
   * @throws InvalidArgument, FailedPrecondition (below what is in use, or the cgroup is gone)
   */
  update(resources: Resources): Promise<() => Promise<void>>;
  /** All pids of the tree; an absent cgroup has none. */
  processes(): Promise<readonly number[]>;
  /** SIGKILL to every process of the tree so that no fork escapes; an absent cgroup is fine. */
  kill(): Promise<void>;
  /** Any other signal to every process of the tree. */
  signal(signal: number): Promise<void>;
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  isFrozen(): Promise<boolean>;
  /** Waits until no process is left (populated 0, or polling procs on pure v1). */
  untilEmpty(signal: AbortSignal): Promise<void>;
  /** A sub-cgroup for one exec, `exec-` and 12 hex digits, in the unified tree or the freezer hierarchy only. */
  createExec(name: string): Promise<ExecCgroup>;
  /** Removes those that nobody lives in: of a daemon that died before it told the monitor of one. */
  sweepExecs(): Promise<void>;
  /** Kills whatever still is in it, then removes it; gone is success. */
  destroy(): Promise<void>;
  /** Removes the tree with everything below it; gone is success. @throws FailedPrecondition while processes are left */
  remove(): Promise<void>;
}

export interface ExecCgroup {
  readonly path: string;
  readonly join: CgroupJoin;
  remove(): Promise<void>;
}

export interface PsiValues {
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
  /** Microseconds. */
  readonly totalUs: bigint;
}

export interface Psi {
  readonly some: PsiValues;
  readonly full: PsiValues;
}

/** One reading. Absent controllers leave their part undefined. */
export interface CgroupStats {
  readonly atNs: bigint;
  readonly cpu:
    | {
        readonly usageNs: bigint;
        readonly userNs: bigint;
        readonly kernelNs: bigint;
        readonly periods: bigint;
        readonly throttledPeriods: bigint;
        readonly throttledNs: bigint;
        readonly psi: Psi | undefined;
      }
    | undefined;
  readonly memory:
    | {
        readonly usageBytes: bigint;
        /** Usage less inactive file pages, as the kubelet evicts by. */
        readonly workingSetBytes: bigint;
        readonly rssBytes: bigint;
        readonly cacheBytes: bigint;
        readonly pageFaults: bigint;
        readonly majorPageFaults: bigint;
        /** undefined: no limit */
        readonly limitBytes: bigint | undefined;
        readonly swapUsageBytes: bigint | undefined;
        readonly swapLimitBytes: bigint | undefined;
        readonly oomKills: bigint;
        /** Read in `full` only. */
        readonly detail: MemoryDetail | undefined;
        readonly psi: Psi | undefined;
      }
    | undefined;
  readonly pids: { readonly current: bigint; readonly limit: bigint | undefined } | undefined;
  readonly io:
    | {
        readonly entries: readonly {
          readonly device: string;
          readonly op: string;
          readonly bytes: bigint;
          readonly ops: bigint;
        }[];
        readonly psi: Psi | undefined;
      }
    | undefined;
  readonly hugetlb: readonly {
    readonly pageSize: string;
    readonly usageBytes: bigint;
    /** The highest usage there was; undefined on v2, which does not keep it. */
    readonly peakBytes: bigint | undefined;
  }[];
}

export interface MemoryDetail {
  /** The highest usage there was. */
  readonly peakBytes: bigint;
  /** How often the limit was hit. */
  readonly limitHits: bigint;
  readonly kernelBytes: bigint;
  readonly mappedFileBytes: bigint;
  readonly activeFileBytes: bigint;
  readonly inactiveFileBytes: bigint;
}
