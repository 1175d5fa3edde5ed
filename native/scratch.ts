import { mkdtemp } from 'node:fs/promises';
import { readdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { removeTree } from './index.js';

/** A directory of the test's own, removed by {@link removeScratch}. */
export function makeScratch(): Promise<string> {
  return mkdtemp(path.join(os.tmpdir(), 'podwright-native-'));
}

/** KEEP=1 leaves it and prints its path. */
export async function removeScratch(directory: string): Promise<void> {
  if (process.env['KEEP'] === '1') process.stdout.write(`kept ${directory}\n`);
  else await removeTree(directory);
}

/** For leak checks: how many descriptors this process has open. */
export function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}
