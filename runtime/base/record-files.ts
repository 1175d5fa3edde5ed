import { readdir } from 'node:fs/promises';

/** Ids of the objects that have a directory of their own below this one. */
export async function idsIn(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory() && /^[0-9a-f]{64}$/.test(entry.name))
    .map((entry) => entry.name);
}

/** The text of a file that was read as bytes in latin1, as the native batches give them. */
export function decode(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString('utf8');
}
