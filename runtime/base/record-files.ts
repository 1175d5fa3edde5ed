import { readdir } from 'node:fs/promises';

/** Ids of the objects that have a directory of their own below this one. */
async function idsIn(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory() && /^[0-9a-f]{64}$/.test(entry.name))
    .map((entry) => entry.name);
}

/** Whichever has a directory below one of these. */
export async function idsInAny(directories: readonly string[]): Promise<readonly string[]> {
  return [...new Set((await Promise.all(directories.map(idsIn))).flat())];
}

/** The text of a file that was read as bytes in latin1, as the native batches give them. */
export function decode(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString('utf8');
}
