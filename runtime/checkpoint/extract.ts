import { constants, createWriteStream } from 'node:fs';
import { mkdir, open, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Header } from 'tar-stream';
import { RuntimeError, errnoOf, isErrno, messageOf } from '../errors.js';

/** Files of an archive, and of the directory that it is read into. */
export const IMAGES = 'checkpoint';
export const WRITABLE_LAYER = 'rootfs-diff.tar';
export const DESCRIPTORS = 'descriptors.json';

/** Far above what a container of thousands of processes has. */
const MAX_ENTRIES = 65_536;
const IMAGE_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,200}\.img$/;

/**
 * Reads the parts of a checkpoint archive that a restore needs into a new directory: CRIU's images, the list of
 * descriptors and the writable layer, which stays packed. The archive is not trusted: nothing but regular files under
 * the names that we know is taken, so no name and no link leads anywhere, and all together is no larger than the archive.
 *
 * @throws NotFound, InvalidArgument naming the entry
 */
export async function extractArchive(archive: string, directory: string, signal: AbortSignal): Promise<void> {
  const file = await openArchive(archive);
  try {
    await mkdir(path.join(directory, IMAGES), { recursive: true, mode: 0o700 });
    const seen = await readEntries(file, directory, signal);
    for (const name of [WRITABLE_LAYER, `${IMAGES}/${DESCRIPTORS}`, `${IMAGES}/inventory.img`])
      if (!seen.has(name)) throw invalid(`${name} is missing`);
  } finally {
    await file.close();
  }
}

async function openArchive(archive: string): Promise<FileHandle> {
  try {
    // Somebody may have put a fifo there: that is not waited for.
    const file = await open(archive, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    if ((await file.stat()).isFile()) return file;
    await file.close();
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR'))
      throw new RuntimeError('NotFound', 'checkpoint archive', { subject: archive });
    throw error;
  }
  throw invalid('no regular file');
}

async function readEntries(
  file: FileHandle,
  directory: string,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const { extract } = await import('tar-stream');
  const source = Readable.from(chunksOf(file));
  const entries = extract();
  const seen = new Set<string>();
  let count = 0;
  const take = async (header: Header, entry: Readable): Promise<void> => {
    if (++count > MAX_ENTRIES) throw invalid(`more than ${MAX_ENTRIES} entries`);
    const name = wantedName(header);
    if (name === undefined) {
      entry.resume();
      return;
    }
    if (seen.has(name)) throw invalid(`${name} is there twice`);
    seen.add(name);
    const target = createWriteStream(path.join(directory, name), { flags: 'wx', mode: 0o600 });
    await pipeline(entry, target, { signal });
  };
  // Not as an iterator: one that is left early waits for a stream that nobody feeds any more.
  const finished = new Promise<void>((resolve, reject) => {
    entries.on('entry', (header, entry, next) => {
      take(header, entry as unknown as Readable).then(() => next(), reject);
    });
    entries.on('finish', resolve);
    entries.on('error', (error) => reject(unreadable(error)));
    source.on('error', reject);
    signal.addEventListener('abort', () => reject(abortReason(signal)), { once: true });
    if (signal.aborted) reject(abortReason(signal));
    source.pipe(entries);
  });
  try {
    await finished;
    return seen;
  } finally {
    source.destroy();
    entries.destroy();
  }
}

const CHUNK_BYTES = 1 << 18;

async function* chunksOf(file: FileHandle): AsyncGenerator<Buffer> {
  for (;;) {
    const { bytesRead, buffer } = await file.read({ buffer: Buffer.allocUnsafe(CHUNK_BYTES) });
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}

function abortReason(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  return reason instanceof Error ? reason : new Error(messageOf(reason));
}

/** Undefined: nothing for us. @throws InvalidArgument for a part that is no regular file, or no image below the images */
function wantedName({ name, type }: Header): string | undefined {
  if (name === `${IMAGES}/` || name === IMAGES) return undefined;
  const below = name.startsWith(`${IMAGES}/`) ? name.slice(IMAGES.length + 1) : undefined;
  if (below === undefined && name !== WRITABLE_LAYER) return undefined;
  if (below !== undefined && below !== DESCRIPTORS && !IMAGE_NAME.test(below))
    throw invalid(`unknown entry ${JSON.stringify(name.slice(0, 200))}`);
  if (type !== 'file' && type !== 'contiguous-file') throw invalid(`${name} is a ${type ?? 'strange entry'}`);
  return name;
}

function invalid(cause: string): RuntimeError {
  return new RuntimeError('InvalidArgument', 'read checkpoint archive', { cause });
}

function unreadable(error: unknown): Error {
  // What the disk says is not the archive's fault.
  return errnoOf(error) !== undefined && error instanceof Error ? error : invalid(messageOf(error));
}
