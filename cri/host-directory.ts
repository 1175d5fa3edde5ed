import { mkdir, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { isErrno } from '../runtime/errors.js';

/**
 * Makes a directory of the host with its parents, mode 0755.
 *
 * @returns what unmakes those that did not exist before, as far as they are still empty
 */
export async function makeHostDirectory(directory: string): Promise<() => Promise<void>> {
  const first = await makeWithParents(directory);
  return async () => {
    if (first === undefined) return;
    for (
      let current = path.resolve(directory);
      current.length >= first.length;
      current = path.dirname(current)
    ) {
      try {
        await rmdir(current);
      } catch (error) {
        if (isErrno(error, 'ENOTEMPTY', 'EEXIST', 'ENOENT', 'EBUSY')) return;
        throw error;
      }
    }
  };
}

/** Where the disk is full, Node says of a directory in the middle that it is not there: the plain call tells the truth. */
async function makeWithParents(directory: string): Promise<string | undefined> {
  try {
    return await mkdir(directory, { recursive: true, mode: 0o755 });
  } catch (error) {
    if (!isErrno(error, 'ENOENT') || !(error instanceof Error) || !('path' in error)) throw error;
    await mkdir(String(error.path), { mode: 0o755 });
    return makeWithParents(directory);
  }
}
