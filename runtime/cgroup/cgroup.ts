import { constants } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  closeFd,
  fileBatch,
  fileBatchSync,
  openat2,
  readFilesSync,
  watchPriority,
  type FileOperation,
} from '../../native/index.js';
import { RuntimeError, isErrno, messageOf } from '../errors.js';
import type { Resources } from '../spec/types.js';
import type { CgroupLayout } from './layout.js';
import { limitOperations } from './limits.js';
import type { Cgroup, CgroupJoin, ExecCgroup } from './types.js';
import { updateLimits } from './update.js';

const SIGKILL = 9;
const AT_FDCWD = -100;
/** How long a kernel file without events (v1 freezer, v1 emptiness) is looked at between two readings. */
const POLL_MS = 5;

/** One directory in each hierarchy, by path. Nothing is read or made until it is asked to. */
export class FsCgroup implements Cgroup {
  readonly directories: ReadonlyMap<string, string>;

  constructor(
    private readonly layout: CgroupLayout,
    readonly path: string,
  ) {
    const directories = new Map<string, string>();
    for (const { mountpoint, controllers } of layout.v1) {
      // Both are normal paths, the second an absolute one: path.join would only look at each of their characters.
      const directory = `${mountpoint}${path}`;
      for (const controller of controllers) directories.set(controller, directory);
    }
    if (layout.unified !== undefined) directories.set('', `${layout.unified}${path}`);
    this.directories = directories;
  }

  get join(): CgroupJoin {
    return {
      v1TasksPaths: this.layout.v1.map(({ mountpoint }) => `${mountpoint}${this.path}/tasks`),
      unifiedPath: this.directories.get(''),
    };
  }

  get oomPath(): string | undefined {
    const v1 = this.directories.get('memory');
    if (v1 !== undefined) return join(v1, 'memory.oom_control');
    const unified = this.directories.get('');
    return unified !== undefined && this.layout.unifiedControllers.has('memory')
      ? join(unified, 'memory.events')
      : undefined;
  }

  get killPath(): string {
    const unified = this.directories.get('');
    return unified === undefined ? join(this.processDirectory, 'cgroup.procs') : join(unified, 'cgroup.kill');
  }

  /** The hierarchy that is asked which processes there are. */
  private get processDirectory(): string {
    const directory =
      this.directories.get('') ?? this.directories.get('freezer') ?? this.directories.values().next().value;
    if (directory === undefined)
      throw new RuntimeError('FailedPrecondition', 'this host has no cgroup hierarchy');
    return directory;
  }

  async update(resources: Resources): Promise<() => Promise<void>> {
    return updateLimits(this.path, limitOperations(this.layout, this.directories, resources));
  }

  async processes(): Promise<readonly number[]> {
    const pids: number[] = [];
    for (const directory of await this.treeOf(this.processDirectory)) {
      const [text] = readFilesSync([join(directory, 'cgroup.procs')]);
      if (typeof text === 'string')
        pids.push(
          ...text
            .split('\n')
            .filter((line) => line !== '')
            .map(Number),
        );
      else if (!isErrno(text, 'ENOENT', 'ENODEV')) throw text ?? new Error('unreadable cgroup.procs');
    }
    return pids;
  }

  async kill(): Promise<void> {
    const unified = this.directories.get('');
    const freezer = this.directories.get('freezer');
    if (unified !== undefined) {
      const operations: FileOperation[] = [{ op: 'write', path: join(unified, 'cgroup.kill'), data: '1' }];
      // A task that the v1 freezer holds does not even die.
      if (freezer !== undefined)
        operations.push({ op: 'write', path: join(freezer, 'freezer.state'), data: 'THAWED' });
      try {
        await fileBatch(operations);
        return;
      } catch (error) {
        if (!isErrno(error, 'ENOENT', 'ENODEV')) throw error;
      }
    }
    await this.signal(SIGKILL);
  }

  /** Frozen first, so that no process escapes by forking; thawed after, which is when the signal acts. */
  async signal(signal: number): Promise<void> {
    const pids = await this.processes();
    if (pids.length === 0) return;
    const wasFrozen = await this.isFrozen();
    if (!wasFrozen) await this.freeze();
    try {
      for (const pid of await this.processes()) {
        try {
          process.kill(pid, signal);
        } catch (error) {
          if (!isErrno(error, 'ESRCH')) throw error;
        }
      }
    } finally {
      if (!wasFrozen || signal === SIGKILL) await this.thaw();
    }
  }

  async freeze(): Promise<void> {
    const freezer = this.directories.get('freezer');
    if (freezer === undefined) {
      await this.freezeUnified('1');
      return;
    }
    await fileBatch([{ op: 'write', path: join(freezer, 'freezer.state'), data: 'FROZEN' }]);
    // The v1 freezer has no event: it says FREEZING until the last task stands still.
    while (!(await this.isFrozen())) await pause();
  }

  async thaw(): Promise<void> {
    if (this.directories.get('freezer') === undefined) await this.freezeUnified('0');
    else await this.thawV1();
  }

  private async thawV1(): Promise<void> {
    const freezer = this.directories.get('freezer');
    if (freezer === undefined) return;
    try {
      await fileBatch([{ op: 'write', path: join(freezer, 'freezer.state'), data: 'THAWED' }]);
    } catch (error) {
      if (!isErrno(error, 'ENOENT', 'ENODEV')) throw error;
    }
  }

  private async freezeUnified(value: '0' | '1'): Promise<void> {
    const unified = this.directories.get('');
    if (unified === undefined)
      throw new RuntimeError('FailedPrecondition', 'this host has no cgroup freezer');
    await fileBatch([{ op: 'write', path: join(unified, 'cgroup.freeze'), data: value }]);
    await this.untilEvent('frozen', value);
  }

  async isFrozen(): Promise<boolean> {
    const freezer = this.directories.get('freezer');
    if (freezer !== undefined) {
      const [state] = readFilesSync([join(freezer, 'freezer.state')]);
      return typeof state === 'string' && state.trim() === 'FROZEN';
    }
    return this.event('frozen') === '1';
  }

  async untilEmpty(signal: AbortSignal): Promise<void> {
    if (this.directories.has('')) await this.untilEvent('populated', '0', signal);
    else while ((await this.processes()).length > 0) await pause(signal);
  }

  async createExec(name: string): Promise<ExecCgroup> {
    const base = this.directories.get('') ?? this.directories.get('freezer');
    if (base === undefined)
      throw new RuntimeError(
        'FailedPrecondition',
        'this host has neither a unified cgroup tree nor a freezer',
      );
    const directory = join(base, name);
    fileBatchSync([{ op: 'mkdir', path: directory, mode: 0o755 }]);
    const { v1TasksPaths, unifiedPath } = this.join;
    return {
      path: directory,
      join:
        unifiedPath === undefined
          ? {
              v1TasksPaths: v1TasksPaths.map((tasks) =>
                dirname(tasks) === base ? join(directory, 'tasks') : tasks,
              ),
              unifiedPath,
            }
          : { v1TasksPaths, unifiedPath: directory },
      remove: async () => fileBatchSync([{ op: 'rmdir', path: directory, missingOk: true }]),
    };
  }

  async sweepExecs(): Promise<void> {
    const base = this.directories.get('') ?? this.directories.get('freezer');
    const names = base === undefined ? [] : await readdir(base).catch(() => []);
    for (const name of names) {
      if (base === undefined || !/^exec-[0-9a-f]{12}$/.test(name)) continue;
      try {
        fileBatchSync([{ op: 'rmdir', path: join(base, name), missingOk: true }]);
      } catch (error) {
        if (!isErrno(error, 'EBUSY', 'ENOTEMPTY')) throw error;
      }
    }
  }

  async destroy(): Promise<void> {
    if (this.removeEmpty()) return;
    await this.kill();
    await this.remove();
  }

  async remove(): Promise<void> {
    if (!this.removeEmpty()) await this.removeTrees([...new Set(this.directories.values())]);
  }

  /** False: something is in it, a process or a cgroup. */
  private removeEmpty(): boolean {
    const roots = [...new Set(this.directories.values())];
    try {
      fileBatchSync(roots.map((directory) => ({ op: 'rmdir', path: directory, missingOk: true })));
      return true;
    } catch (error) {
      if (!isErrno(error, 'EBUSY', 'ENOTEMPTY')) throw error;
      return false;
    }
  }

  /** Below a cgroup may be those of its execs and whatever the container made; killed processes may still be leaving. */
  private async removeTrees(roots: readonly string[]): Promise<void> {
    await this.untilEmpty(AbortSignal.timeout(EMPTY_TIMEOUT_MS)).catch((error: unknown) => {
      throw new RuntimeError('FailedPrecondition', 'remove cgroup', {
        subject: this.path,
        cause: `processes are left (${messageOf(error)})`,
      });
    });
    for (const root of roots) {
      const tree = await this.treeOf(root);
      await fileBatch(
        [...tree].reverse().map((directory) => ({ op: 'rmdir', path: directory, missingOk: true })),
      );
    }
  }

  /** The directory and all below it, parents first. */
  private async treeOf(root: string): Promise<readonly string[]> {
    const tree = [root];
    for (let index = 0; index < tree.length; index++) {
      const directory = tree[index] ?? root;
      const entries = await readdir(directory, { withFileTypes: true }).catch((error: unknown) => {
        if (isErrno(error, 'ENOENT', 'ENODEV')) return [];
        throw error;
      });
      for (const entry of entries) if (entry.isDirectory()) tree.push(join(directory, entry.name));
    }
    return tree;
  }

  /** A value of cgroup.events; undefined when the cgroup is gone. */
  private event(key: string): string | undefined {
    const [text] = readFilesSync([join(this.processDirectory, 'cgroup.events')]);
    return typeof text === 'string' ? new RegExp(`^${key} (\\d)$`, 'm').exec(text)?.[1] : undefined;
  }

  /** Waits until cgroup.events says so (POLLPRI at every change); a cgroup that is gone ends the wait. */
  private async untilEvent(key: string, value: string, signal?: AbortSignal): Promise<void> {
    const fd = openEvents(join(this.processDirectory, 'cgroup.events'));
    if (fd === undefined) return;
    let wake = (): void => undefined;
    const watch = watchPriority(fd, () => wake());
    try {
      for (;;) {
        const changed = new Promise<void>((resolve) => {
          wake = resolve;
        });
        const now = this.event(key);
        if (now === undefined || now === value) return;
        await untilAborted(changed, signal);
      }
    } finally {
      watch.close();
      closeFd(fd);
    }
  }
}

/** Killed processes leave within milliseconds unless the kernel holds them. */
const EMPTY_TIMEOUT_MS = 10_000;

function openEvents(file: string): number | undefined {
  try {
    return openat2(AT_FDCWD, file, { flags: constants.O_RDONLY });
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENODEV')) return undefined;
    throw error;
  }
}

async function pause(signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await new Promise((resolve) => setTimeout(resolve, POLL_MS));
}

async function untilAborted(promise: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return promise;
  let abort = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
  });
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  try {
    await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
