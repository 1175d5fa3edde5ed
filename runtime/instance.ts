import { constants } from 'node:fs';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { closeFd, openat2, removeTree, spreadSubdirectories, tryFlock } from '../native/index.js';
import type { Logger } from './base/logger.js';
import { RuntimeError, isErrno } from './errors.js';

/** The hold of one daemon on its directories. */
export interface Instance {
  readonly bootId: string;
  close(): void;
}

const AT_FDCWD = -100;

/**
 * Makes the directories, takes the lock that keeps a second daemon away, and drops what an earlier boot left in the state
 * directory (which need not be a tmpfs).
 *
 * @throws FailedPrecondition when another daemon holds the root
 */
export async function openInstance({
  root,
  state,
  logger,
}: {
  root: string;
  state: string;
  logger: Logger;
}): Promise<Instance> {
  for (const directory of [root, path.join(root, 'pods'), path.join(root, 'containers')]) {
    await mkdir(directory, { recursive: true, mode: 0o700 });
  }
  spreadSubdirectories(path.join(root, 'pods'));
  await mkdir(state, { recursive: true, mode: 0o700 });
  const lock = openat2(AT_FDCWD, path.join(root, 'lock'), {
    flags: constants.O_RDWR | constants.O_CREAT,
    mode: 0o600,
  });
  if (!tryFlock(lock)) {
    closeFd(lock);
    throw new RuntimeError('FailedPrecondition', `another daemon works on ${root}`);
  }
  const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  await dropOtherBoot(state, bootId, logger);
  // Images of a checkpoint that a crash cut short are of no use to anybody.
  await removeTree(path.join(root, 'checkpoints'));
  for (const directory of ['pods', 'containers']) {
    await mkdir(path.join(state, directory), { recursive: true, mode: 0o700 });
  }
  return { bootId, close: () => closeFd(lock) };
}

async function dropOtherBoot(state: string, bootId: string, logger: Logger): Promise<void> {
  const marker = path.join(state, 'boot-id');
  const last = await readFile(marker, 'utf8').catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  });
  if (last === bootId) return;
  if (last !== undefined) {
    logger.info('the node was restarted: live state is dropped', { state });
    for (const name of await readdir(state)) {
      if (name === 'pods' || name === 'containers') await removeTree(path.join(state, name));
    }
  }
  await writeFile(marker, bootId, { mode: 0o600 });
}

/** Path of a program that `npm run build:native` built. */
export function nativeProgram(name: string): string {
  const here = path.dirname(fileURLToPath(import.meta.url));
  // dist/runtime/instance.js → the package's root
  return path.join(here, '..', '..', 'native', 'build', 'Release', name);
}
