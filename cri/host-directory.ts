import { mkdir, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { isErrno } from '../runtime/errors.js';

/**
 * Makes a directory of the host with its parents, mode 0755.
 *
 * @returns what unmakes those that did not exist before, as far as they are still empty
 */
export async function makeHostDirectory(directory: string): Promise<() => Promise<void>> {
  const first = await mkdir(directory, { recursive: true, mode: 0o755 });
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
