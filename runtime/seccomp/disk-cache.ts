import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { isErrno } from '../errors.js';

const DIGEST_BYTES = 32;
const INSTRUCTION_BYTES = 8;
const MAX_FILES = 128;

/**
 * Compiled programs by the digest of what they were compiled from. A file is the program behind its own SHA-256: nothing
 * is synced, and one that a power cut tore is compiled again.
 */
export interface DiskCache {
  read(key: string): Promise<Buffer | undefined>;
  write(key: string, bpf: Uint8Array): Promise<void>;
}

/** Makes the directory, and drops the oldest programs beyond 128. */
export async function openDiskCache(directory: string): Promise<DiskCache> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await dropOldest(directory);
  const fileOf = (key: string) => path.join(directory, `${key}.bpf`);
  return {
    read: (key) => readProgram(fileOf(key)),
    write: async (key, bpf) => {
      const temporary = path.join(directory, `.${key}.${process.pid}`);
      await writeFile(temporary, Buffer.concat([digestOf(bpf), bpf]), { mode: 0o600 });
      await rename(temporary, fileOf(key));
    },
  };
}

async function readProgram(file: string): Promise<Buffer | undefined> {
  try {
    const content = await readFile(file);
    const bpf = content.subarray(DIGEST_BYTES);
    const whole = bpf.length > 0 && bpf.length % INSTRUCTION_BYTES === 0;
    return whole && digestOf(bpf).equals(content.subarray(0, DIGEST_BYTES)) ? bpf : undefined;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function digestOf(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

async function dropOldest(directory: string): Promise<void> {
  const names = await readdir(directory);
  if (names.length <= MAX_FILES) return;
  const files = await Promise.all(
    names.map(async (name) => ({ name, at: (await stat(path.join(directory, name))).mtimeMs })),
  );
  const old = files.sort((one, other) => other.at - one.at).slice(MAX_FILES);
  await Promise.all(old.map(({ name }) => rm(path.join(directory, name), { force: true })));
}
