import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { closeFd, removeTree } from '../../native/index.js';
import { criuCgMode, criuReqType, type criuOpts, type inheritFd } from '../../protos/gen/criu/rpc.js';
import type { OpenCheckpoint, RestoreOptions } from '../container/deps.js';
import { RuntimeError } from '../errors.js';
import { connectCriu, noOptions, type Criu } from './criu.js';
import { criuError, openDirectory } from './criu-files.js';
import { verifyRestored } from './verify.js';
import { DESCRIPTORS, IMAGES, WRITABLE_LAYER } from './extract.js';

const RESTORE_LOG = 'restore.log';
/** A list of three short names. */
const MAX_DESCRIPTORS_BYTES = 4096;

/** A directory that extractArchive has filled. */
export function openExtracted(directory: string, program: string): OpenCheckpoint {
  return {
    program,
    writableLayer: () => createReadStream(path.join(directory, WRITABLE_LAYER)),
    restore: (options, signal) => restore(directory, options, signal),
    close: () => removeTree(directory),
  };
}

/**
 * One RESTORE with the images, which CRIU reads through our own descriptors. The processes come back stopped; when init
 * is there `onInit` is awaited, then they run.
 */
async function restore(directory: string, options: RestoreOptions, signal: AbortSignal): Promise<void> {
  const inherited = await inheritedStreams(directory);
  const imagesFd = openDirectory(path.join(directory, IMAGES));
  const workFd = openDirectory(directory);
  const criu = connectCriu(options.socket, () => Promise.resolve());
  const abort = (): void => void criu.close();
  signal.addEventListener('abort', abort, { once: true });
  try {
    signal.throwIfAborted();
    await request(criu, options, {
      ...noOptions,
      imagesDirFd: imagesFd,
      workDirFd: workFd,
      logLevel: 4,
      logFile: RESTORE_LOG,
      notifyScripts: true,
      rstSibling: true,
      root: options.root,
      manageCgroups: true,
      manageCgroupsMode: criuCgMode.IGNORE,
      fileLocks: true,
      extMnt: options.mounts.map(({ mountpoint, source }) => ({ key: mountpoint, val: source })),
      ...namespaceOptions(options, inherited),
    });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof RuntimeError && error.code === 'PermissionDenied') throw error;
    throw new RuntimeError('FailedPrecondition', 'restore', {
      cause: await criuError(error, path.join(directory, RESTORE_LOG)),
    });
  } finally {
    signal.removeEventListener('abort', abort);
    closeFd(imagesFd);
    closeFd(workFd);
    await criu.close();
  }
}

/** CRIU says "post-restore" when init is there and "pre-resume" when privileges are set; then it lets everything run. */
async function request(criu: Criu, options: RestoreOptions, opts: criuOpts): Promise<void> {
  let init: number | undefined;
  let verified = false;
  await criu.request(criuReqType.RESTORE, opts, async (script, pid) => {
    if (script === 'post-restore') {
      await options.onInit(pid);
      init = pid;
    } else if (script === 'pre-resume' && init !== undefined) {
      // CRIU would only log that it was refused.
      await verifyRestored(init, options).catch(async (error: unknown) => {
        await options.kill();
        throw error;
      });
      verified = true;
    }
  });
  if (verified) return;
  await options.kill();
  throw new RuntimeError('Internal', 'CRIU did not say when the processes were made');
}

/** The network namespace goes in by descriptor under the name it was dumped with, the others are joined. */
function namespaceOptions(
  { namespaces }: RestoreOptions,
  streams: readonly inheritFd[],
): Pick<criuOpts, 'inheritFd' | 'joinNs'> {
  const network = namespaces.filter(({ type }) => type === 'network');
  const joined = namespaces.filter(({ type }) => type !== 'network');
  return {
    inheritFd: [...streams, ...network.map(({ fd }) => ({ key: 'extRootNetNS', fd }))],
    joinNs: joined.map(({ type, fd }) => ({ ns: type, nsFile: `/proc/self/fd/${fd}` })),
  };
}

/** The pipes that init had as descriptors 0 to 2 become CRIU's own, which lead to the new container's monitor. */
async function inheritedStreams(directory: string): Promise<readonly inheritFd[]> {
  const text = await readFile(path.join(directory, IMAGES, DESCRIPTORS), 'utf8');
  const targets = text.length <= MAX_DESCRIPTORS_BYTES ? parseTargets(text) : undefined;
  if (targets === undefined)
    throw new RuntimeError('InvalidArgument', 'read checkpoint archive', {
      cause: `${DESCRIPTORS} is malformed`,
    });
  return targets.flatMap((key, fd) => (/^pipe:\[\d+\]$/.test(key) ? [{ key, fd }] : []));
}

function parseTargets(text: string): readonly string[] | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) && value.length <= 3 && value.every((item) => typeof item === 'string')
      ? value
      : undefined;
  } catch {
    return undefined;
  }
}
