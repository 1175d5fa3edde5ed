import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, open, readlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { closeFd, removeTree } from '../../native/index.js';
import { criuCgMode, criuNetworkLockMethod, criuReqType, type criuOpts } from '../../protos/gen/criu/rpc.js';
import { MAX_TIMER_MS } from '../base/deadline.js';
import type { Logger } from '../base/logger.js';
import type { CgroupDriver } from '../cgroup/types.js';
import type { CheckpointOptions, Checkpointer } from '../container/deps.js';
import { RuntimeError, isErrno, messageOf } from '../errors.js';
import type { ImageService } from '../image/types.js';
import type { Snapshots } from '../snapshot/types.js';
import { writeArchive } from './archive.js';
import { CriuProgram, noOptions, startCriu, type CriuVersion } from './criu.js';
import { criuError, openDirectory } from './criu-files.js';
import { findExternal } from './external.js';
import { DESCRIPTORS, IMAGES, WRITABLE_LAYER, extractArchive } from './extract.js';
import { describeCheckpoint } from './metadata.js';
import { openExtracted } from './restorer.js';

export interface CheckpointerOptions {
  /** CRIU: a path, or a name that is looked for in PATH. */
  readonly criu: string;
  /** Images are written here before they go into the archive: on a disk, they are as large as the container's memory. */
  readonly workDir: string;
  readonly logger: Logger;
  readonly snapshots: Pick<Snapshots, 'diff'>;
  readonly images: Pick<ImageService, 'get'>;
  readonly cgroups: CgroupDriver;
}

/** CRIU's own limit when the caller sets none. */
const DEFAULT_TIMEOUT_MS = 10 * 60 * 1000;
/** How long CRIU may take to come to its next step once nobody wants its dump any more. */
const KILL_GRACE_MS = 10_000;

export function openCheckpointer(options: CheckpointerOptions): Checkpointer {
  const criu = new CriuProgram(options.criu);
  return {
    checkpoint: (container, signal) => checkpoint(options, criu, container, signal),
    open: async (archive, id, signal) => {
      const { program } = await criu.get();
      const directory = workDirectory(options.workDir, id);
      await openArchive(archive, directory, signal);
      return openExtracted(directory, program);
    },
  };
}

async function openArchive(archive: string, directory: string, signal: AbortSignal): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  try {
    await extractArchive(archive, directory, signal);
  } catch (error) {
    await removeTree(directory);
    throw error;
  }
}

function workDirectory(workDir: string, id: string): string {
  return path.join(workDir, `${id}-${randomBytes(4).toString('hex')}`);
}

/**
 * Freezes the container, dumps it, packs its writable layer, lets it go on and writes the archive. Whatever fails, the
 * container runs on and no file is left.
 */
async function checkpoint(
  options: CheckpointerOptions,
  criu: CriuProgram,
  container: CheckpointOptions,
  signal: AbortSignal,
): Promise<void> {
  const { location, id, timeoutMs } = container;
  if (!path.isAbsolute(location) || location.includes('\0')) {
    throw new RuntimeError(
      'InvalidArgument',
      `checkpoint location ${JSON.stringify(location)} is no absolute path`,
    );
  }
  const { program, version } = await criu.get();
  const directory = workDirectory(options.workDir, id);
  const limitMs = timeoutMs > 0 ? timeoutMs : DEFAULT_TIMEOUT_MS;
  const { signal: bounded, end } = limit(signal, limitMs);
  try {
    await mkdir(path.join(directory, IMAGES), { recursive: true, mode: 0o700 });
    await whileFrozen(options.cgroups, container.cgroupPath, async (freezer) => {
      await dump({ freezer, program, version, directory, container, limitMs, signal: bounded });
      await packWritableLayer(options.snapshots, id, directory, bounded);
    });
    const names = await writeMetadata(options, container, directory, version);
    await writeArchive(directory, [IMAGES, WRITABLE_LAYER, ...names], location, bounded);
  } catch (error) {
    signal.throwIfAborted();
    if (bounded.aborted)
      throw new RuntimeError('DeadlineExceeded', `checkpoint was not done within ${limitMs} ms`, {
        cause: messageOf(error),
      });
    throw error;
  } finally {
    end();
    await removeTree(directory);
  }
}

/** Aborted by the caller or when the time is over, whichever is first. */
function limit(
  caller: AbortSignal,
  timeoutMs: number,
): { readonly signal: AbortSignal; readonly end: () => void } {
  const controller = new AbortController();
  const abort = (): void => controller.abort();
  const timer = setTimeout(abort, Math.min(timeoutMs, MAX_TIMER_MS));
  caller.addEventListener('abort', abort, { once: true });
  if (caller.aborted) abort();
  const end = (): void => {
    clearTimeout(timer);
    caller.removeEventListener('abort', abort);
  };
  return { signal: controller.signal, end };
}

/** The container stands still for dump and writable layer alike, so that both are of one moment. */
async function whileFrozen(
  cgroups: CgroupDriver,
  cgroupPath: string,
  work: (freezer: string | undefined) => Promise<void>,
): Promise<void> {
  const cgroup = cgroups.open(cgroupPath);
  try {
    await cgroup.freeze();
    await work(cgroup.directories.get('freezer') ?? cgroup.directories.get(''));
  } finally {
    await cgroup.thaw();
  }
}

interface Dump {
  /** The frozen cgroup's directory: CRIU would wait for ever for a frozen task that it does not know to be frozen. */
  readonly freezer: string | undefined;
  readonly program: string;
  readonly version: CriuVersion;
  readonly directory: string;
  readonly container: CheckpointOptions;
  readonly limitMs: number;
  readonly signal: AbortSignal;
}

async function dump({
  freezer,
  program,
  version,
  directory,
  container,
  limitMs,
  signal,
}: Dump): Promise<void> {
  const { init, spec } = container;
  const binds = new Set(
    (spec.mounts ?? []).filter(isBind).map((mount) => path.posix.normalize(mount.destination)),
  );
  // The sandbox', unless the spec brings one of its own.
  if (!(spec.mounts ?? []).some(({ destination }) => path.posix.normalize(destination) === '/dev/shm'))
    binds.add('/dev/shm');
  const external = await findExternal(init.pid, binds);
  await writeDescriptors(init.pid, path.join(directory, IMAGES));
  signal.throwIfAborted();
  const imagesFd = openDirectory(path.join(directory, IMAGES));
  const workFd = openDirectory(directory);
  const process_ = startCriu(program);
  // Not at once: a CRIU that is killed leaves its code in the container's processes. It is asked to stop at its next step.
  let stop: NodeJS.Timeout | undefined;
  const abort = (): void => void (stop = setTimeout(() => void process_.close(), KILL_GRACE_MS));
  signal.addEventListener('abort', abort, { once: true });
  const options: criuOpts = {
    ...noOptions,
    imagesDirFd: imagesFd,
    workDirFd: workFd,
    pid: init.pid,
    leaveRunning: true,
    logLevel: 4,
    logFile: 'dump.log',
    notifyScripts: true,
    manageCgroups: true,
    manageCgroupsMode: criuCgMode.SOFT,
    orphanPtsMaster: true,
    freezeCgroup: freezer,
    fileLocks: true,
    timeout: Math.max(1, Math.ceil(limitMs / 1000)),
    extMnt: external.mounts.map((mount) => ({ key: mount, val: mount })),
    external: [...external.namespaces],
    // Without established connections there is nothing to lock, with them CRIU refuses: no firewall of the pod is touched.
    ...(version.number >= 31_700 ? { networkLock: criuNetworkLockMethod.SKIP } : {}),
  };
  try {
    await process_.request(criuReqType.DUMP, options, () => signal.throwIfAborted());
  } catch (error) {
    throw new RuntimeError('FailedPrecondition', 'dump', {
      cause: await criuError(error, path.join(directory, 'dump.log')),
    });
  } finally {
    clearTimeout(stop);
    signal.removeEventListener('abort', abort);
    closeFd(imagesFd);
    closeFd(workFd);
    await process_.close();
  }
}

function isBind({
  type,
  options,
}: {
  readonly type?: string | undefined;
  readonly options?: readonly string[] | undefined;
}): boolean {
  return (
    type === 'bind' ||
    type === 'image' ||
    (options ?? []).some((option) => option === 'bind' || option === 'rbind')
  );
}

/** What descriptors 0 to 2 of init are, for the restore to give it new ones in their place. */
async function writeDescriptors(pid: number, directory: string): Promise<void> {
  const targets = await Promise.all([0, 1, 2].map((fd) => readlink(`/proc/${pid}/fd/${fd}`)));
  await writeFile(path.join(directory, DESCRIPTORS), JSON.stringify(targets), { mode: 0o600 });
}

async function packWritableLayer(
  snapshots: Pick<Snapshots, 'diff'>,
  id: string,
  directory: string,
  signal: AbortSignal,
): Promise<void> {
  const file = await open(path.join(directory, WRITABLE_LAYER), 'wx', 0o600);
  try {
    await snapshots.diff(id, { fd: file.fd, compression: 'gzip' }, signal);
  } finally {
    await file.close();
  }
}

/** Everything beside the images; returns the names in the order of the archive. */
async function writeMetadata(
  { images }: CheckpointerOptions,
  container: CheckpointOptions,
  directory: string,
  version: CriuVersion,
): Promise<readonly string[]> {
  const files = describeCheckpoint(container, images.get(container.imageId), version);
  for (const [name, content] of Object.entries(files)) {
    await writeFile(path.join(directory, name), JSON.stringify(content), { mode: 0o600 });
  }
  const optional: string[] = [];
  for (const name of ['dump.log', 'stats-dump'])
    if (await exists(path.join(directory, name))) optional.push(name);
  if (container.logPath !== undefined) {
    // The log belongs to the kubelet: it may be gone or rotated away, and is only for people to read.
    await copyFile(container.logPath, path.join(directory, 'container.log')).then(
      () => optional.push('container.log'),
      (error: unknown) => {
        if (!isErrno(error, 'ENOENT')) throw error;
      },
    );
  }
  return [...Object.keys(files), ...optional];
}

async function exists(file: string): Promise<boolean> {
  return readlinkOrOpen(file).then(
    () => true,
    () => false,
  );
}

async function readlinkOrOpen(file: string): Promise<void> {
  await (await open(file)).close();
}
