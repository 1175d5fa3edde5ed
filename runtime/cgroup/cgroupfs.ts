import path from 'node:path';
import { fileBatch, fileBatchSync, readFilesSync, type FileOperation } from '../../native/index.js';
import { RuntimeError, isErrno, messageOf } from '../errors.js';
import type { Resources } from '../spec/types.js';
import { FsCgroup } from './cgroup.js';
import { limitOperations } from './limits.js';
import { hierarchyOf, type CgroupLayout } from './layout.js';
import { countProcesses } from './process-counts.js';
import { readStats } from './stats.js';
import type { Cgroup, CgroupDriver, CgroupStats, ProcessCounts, StatsExtent } from './types.js';

const CPUSET_FILES = ['cpuset.cpus', 'cpuset.mems'] as const;
/** What a unified tree's levels hand down. */
const DELEGATED = ['cpuset', 'cpu', 'io', 'memory', 'hugetlb', 'pids', 'rdma', 'misc'] as const;

/** With the mount point, the pod's id and a file of its cgroup it must fit PATH_MAX. */
const MAX_PARENT_BYTES = 3000;

/** The cgroupfs driver: directories made, written and removed by ourselves. */
export class CgroupfsDriver implements CgroupDriver {
  readonly name = 'cgroupfs';
  readonly mode: CgroupLayout['mode'];
  readonly controllers: ReadonlySet<string>;

  constructor(
    private readonly layout: CgroupLayout,
    /** The parent of whatever names none, "/podwright". */
    private readonly defaultParent: string,
  ) {
    this.mode = layout.mode;
    this.controllers = new Set([
      ...layout.v1.flatMap((hierarchy) => hierarchy.controllers),
      ...layout.unifiedControllers,
    ]);
  }

  path(parent: string, id: string): string {
    const base = parent === '' ? this.defaultParent : parent;
    if (base.endsWith('.slice')) {
      throw new RuntimeError('InvalidArgument', `cgroup parent ${base} is a systemd slice`, {
        cause: 'the cgroup driver is cgroupfs',
      });
    }
    if (!base.startsWith('/') || base.split('/').some((part) => part === '..' || part === '.')) {
      throw new RuntimeError(
        'InvalidArgument',
        `cgroup parent ${JSON.stringify(base)} is no absolute path without dots`,
      );
    }
    const unfit = base.split('/').find((part) => !this.canBeName(part));
    if (unfit !== undefined || Buffer.byteLength(base) > MAX_PARENT_BYTES) {
      throw new RuntimeError('InvalidArgument', `cgroup parent ${JSON.stringify(base.slice(0, 300))}`, {
        cause: unfit === undefined ? 'is too long' : `${JSON.stringify(unfit)} cannot name a cgroup`,
      });
    }
    return path.posix.join(base, id);
  }

  /** Whatever may be a file of a cgroup is no name for one: systemd's rule (`cg_needs_escape`). */
  private canBeName(part: string): boolean {
    const [first = ''] = part.split('.');
    const isFile = part.includes('.') && (first === 'cgroup' || this.controllers.has(first));
    const reserved = ['tasks', 'notify_on_release', 'release_agent'].includes(part);
    return !isFile && !reserved && !part.includes('\0') && Buffer.byteLength(part) <= 255;
  }

  open(cgroupPath: string): Cgroup {
    return new FsCgroup(this.layout, cgroupPath);
  }

  async create(
    cgroupPath: string,
    resources: Resources | undefined,
    where: 'here' | 'aside' = 'here',
  ): Promise<Cgroup> {
    const cgroup = new FsCgroup(this.layout, cgroupPath);
    // First: whatever is missing above is made by them, and a parent shows which files there will be.
    this.delegateAgain(path.posix.dirname(cgroupPath));
    const cpuset = this.inheritedCpuset(cgroupPath);
    const limits = limitOperations(this.layout, cgroup.directories, resources ?? {});
    const leaf = [...cgroup.directories.values()].map((directory): FileOperation => ({
      op: 'mkdir',
      path: directory,
      mode: 0o755,
    }));
    try {
      const carryOut = where === 'here' ? fileBatchSync : fileBatch;
      await this.makeLeaf(cgroupPath, [...leaf, ...cpuset, ...limits.operations], carryOut);
      await limits.attachDevices();
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) await cgroup.remove();
      throw new RuntimeError(
        isErrno(error, 'EINVAL', 'ERANGE') ? 'InvalidArgument' : 'Internal',
        'create cgroup',
        {
          subject: cgroupPath,
          cause: messageOf(error),
        },
      );
    }
    return cgroup;
  }

  async stats(
    paths: readonly string[],
    extent: StatsExtent = 'full',
  ): Promise<readonly (CgroupStats | undefined)[]> {
    return readStats(this.layout, paths, extent);
  }

  countProcesses(paths: readonly string[]): Promise<readonly (ProcessCounts | undefined)[]> {
    return countProcesses(this.layout, paths);
  }

  /** The parents nearly always exist: they are made only when the leaf's mkdir says they do not. */
  private async makeLeaf(
    cgroupPath: string,
    operations: readonly FileOperation[],
    carryOut: typeof fileBatch | typeof fileBatchSync,
  ): Promise<void> {
    try {
      await carryOut(operations);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
      this.makeParents(path.posix.dirname(cgroupPath));
      await new FsCgroup(this.layout, cgroupPath).remove();
      const cpuset = this.cpusetOfParent(cgroupPath);
      const others = operations.filter(
        (operation) => !CPUSET_FILES.some((file) => operation.path.endsWith(`/${file}`) && cpuset.length > 0),
      );
      fileBatchSync([
        ...others.filter(isMkdir),
        ...cpuset,
        ...others.filter((operation) => !isMkdir(operation)),
      ]);
    }
  }

  /** Makes every level above a cgroup; on v1 cpusets are copied down, on v2 controllers handed down. What exists is left as it is. */
  private makeParents(parent: string): void {
    const levels = parent.split('/').filter((part) => part !== '');
    for (let depth = 1; depth <= levels.length; depth++) {
      const level = `/${levels.slice(0, depth).join('/')}`;
      this.delegate(path.posix.dirname(level));
      const directories = new FsCgroup(this.layout, level).directories;
      fileBatchSync(
        [...directories.values()].map((directory) => ({
          op: 'mkdir',
          path: directory,
          mode: 0o755,
          existOk: true,
        })),
      );
      fileBatchSync(this.emptyCpusets(level));
    }
    this.delegate(parent);
  }

  /** A parent that somebody else made may hand nothing down. Where it cannot, the limits that need it say so. */
  private delegateAgain(parent: string): void {
    try {
      this.delegate(parent);
    } catch (error) {
      if (isErrno(error, 'ENOENT')) this.makeParents(parent);
    }
  }

  /** On v2 a level must hand its controllers down before its children have their files. */
  private delegate(level: string): void {
    if (this.mode !== 'v2' || this.layout.unified === undefined) return;
    const directory = path.join(this.layout.unified, level);
    const available = DELEGATED.filter((name) => this.layout.unifiedControllers.has(name));
    fileBatchSync([
      {
        op: 'write',
        path: path.join(directory, 'cgroup.subtree_control'),
        data: available.map((name) => `+${name}`).join(' '),
      },
    ]);
  }

  private cpusetDirectory(level: string): string | undefined {
    const hierarchy = hierarchyOf(this.layout, 'cpuset');
    return hierarchy && `${hierarchy.mountpoint}${level}`;
  }

  /** v1: a cpuset without CPUs or memory nodes takes no process (ENOSPC), so a new one starts with its parent's. */
  private cpusetOfParent(cgroupPath: string): readonly FileOperation[] {
    const own = this.cpusetDirectory(cgroupPath);
    const parent = this.cpusetDirectory(path.posix.dirname(cgroupPath));
    if (this.mode === 'v2' || own === undefined || parent === undefined) return [];
    const values = readFilesSync(CPUSET_FILES.map((file) => path.join(parent, file)));
    return CPUSET_FILES.flatMap((file, index): FileOperation[] => {
      const value = values[index];
      return typeof value === 'string' && value.trim() !== ''
        ? [{ op: 'write', path: path.join(own, file), data: value.trim() }]
        : [];
    });
  }

  /**
   * The same, where the parent is not there, or is just being made by another creation, or somebody made it and left its
   * cpuset empty: it is made, and filled from above, first.
   */
  private inheritedCpuset(cgroupPath: string): readonly FileOperation[] {
    const found = this.cpusetOfParent(cgroupPath);
    const complete = found.length === CPUSET_FILES.length;
    if (complete || this.mode === 'v2' || this.cpusetDirectory(cgroupPath) === undefined) return found;
    this.makeParents(path.posix.dirname(cgroupPath));
    return this.cpusetOfParent(cgroupPath);
  }

  private emptyCpusets(level: string): readonly FileOperation[] {
    const own = this.cpusetDirectory(level);
    if (this.mode === 'v2' || own === undefined) return [];
    const present = readFilesSync(CPUSET_FILES.map((file) => path.join(own, file)));
    const inherited = this.cpusetOfParent(level);
    return inherited.filter((operation) => {
      const index = CPUSET_FILES.findIndex((file) => operation.path.endsWith(`/${file}`));
      const value = present[index];
      return typeof value === 'string' && value.trim() === '';
    });
  }
}

function isMkdir(operation: FileOperation): boolean {
  return operation.op === 'mkdir';
}
