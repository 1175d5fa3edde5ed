import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream, type WriteStream } from 'node:fs';
import { open, readdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Pack } from 'tar-stream';

/**
 * Writes files of a directory as the archive that checkpoint tools read. It is a temporary file beside the target until
 * all of it is on disk, then takes the target's name; a failure leaves neither.
 *
 * @param names files and directories below `directory`, in this order
 */
export async function writeArchive(
  directory: string,
  names: readonly string[],
  target: string,
  signal: AbortSignal,
): Promise<void> {
  const { pack } = await import('tar-stream');
  const partial = `${target}.${randomBytes(4).toString('hex')}.partial`;
  try {
    const archive = pack();
    const out = createWriteStream(partial, { mode: 0o600, flags: 'wx' });
    const written = pipeline(archive, out, { signal });
    const filled = fill(archive, directory, names, signal).catch((error: unknown) => {
      archive.destroy(error instanceof Error ? error : new Error(String(error)));
      throw error;
    });
    await Promise.all([filled, written]);
    await syncFile(partial);
    await rename(partial, target);
    await syncFile(path.dirname(target));
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

async function fill(
  archive: Pack,
  directory: string,
  names: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  for (const name of names) await add(archive, directory, name, signal);
  archive.finalize();
}

async function add(archive: Pack, directory: string, name: string, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const file = path.join(directory, name);
  const found = await stat(file);
  const header = { name, mode: found.mode & 0o777, mtime: found.mtime, uid: 0, gid: 0 };
  if (found.isDirectory()) {
    archive.entry({ ...header, name: `${name}/`, type: 'directory' });
    for (const child of (await readdir(file)).sort())
      await add(archive, directory, `${name}/${child}`, signal);
    return;
  }
  const entry = archive.entry({ ...header, size: found.size, type: 'file' });
  await pipeline(createReadStream(file), entry as unknown as WriteStream, { signal });
}

async function syncFile(file: string): Promise<void> {
  const handle = await open(file);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
