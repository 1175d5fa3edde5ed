import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rm, stat, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import {
  algorithmOf,
  digestOf,
  finishDigest,
  hexOf,
  parseDigest,
  startDigest,
  type Digest,
  type DigestAlgorithm,
} from '../base/digest.js';
import { Limiter } from '../base/limiter.js';
import type { Logger } from '../base/logger.js';
import { isErrno, RuntimeError, wrapError } from '../errors.js';
import { FileIngest } from './ingest.js';
import { IndexFile, writeLayoutFile } from './layout.js';
import type { ContentStore, IndexEntry, Ingest } from './types.js';

const algorithms: readonly DigestAlgorithm[] = ['sha256', 'sha512'];
const parallelStats = 16;
const readChunkBytes = 256 * 1024;
/** A partial blob that nobody continued for so long is an orphan. */
const partialLifetimeMs = 24 * 60 * 60 * 1000;

export interface ContentStoreOptions {
  /** Root of the OCI image layout; made if missing. */
  readonly path: string;
  readonly logger: Logger;
}

/** Opens the store: makes what is missing, counts the blobs and sweeps what earlier processes left unfinished. */
export async function openContentStore({ path: root, logger }: ContentStoreOptions): Promise<ContentStore> {
  await mkdir(root, { recursive: true, mode: 0o700 });
  await mkdir(path.join(root, 'ingest'), { recursive: true, mode: 0o700 });
  for (const algorithm of algorithms)
    await mkdir(path.join(root, 'blobs', algorithm), { recursive: true, mode: 0o700 });
  await writeLayoutFile(root);
  await sweepIngests(path.join(root, 'ingest'), logger);
  return new FileContentStore(root, await findBlobs(root), new IndexFile(root, algorithms, logger));
}

/** What cannot be continued, and what nobody continued for a day. */
async function sweepIngests(directory: string, logger: Logger): Promise<void> {
  for (const name of await readdir(directory)) {
    if (partialDigest(name) !== undefined) continue;
    await rm(path.join(directory, name), { force: true, recursive: true });
    logger.info('unfinished blob removed', { name });
  }
  await removePartials(directory, partialLifetimeMs, new Set());
}

async function removePartials(
  directory: string,
  olderThanMs: number,
  except: ReadonlySet<string>,
): Promise<void> {
  const newest = Date.now() - olderThanMs;
  for (const name of await readdir(directory)) {
    const digest = partialDigest(name);
    if (digest === undefined || except.has(digest)) continue;
    const file = path.join(directory, name);
    const modified = await stat(file).catch(() => undefined);
    if (modified !== undefined && modified.mtimeMs <= newest) await rm(file, { force: true });
  }
}

function partialName(digest: Digest): string {
  return `${algorithmOf(digest)}-${hexOf(digest)}.partial`;
}

function partialDigest(name: string): Digest | undefined {
  return name.endsWith('.partial')
    ? parseDigest(name.slice(0, -'.partial'.length).replace('-', ':'))
    : undefined;
}

async function findBlobs(root: string): Promise<Map<Digest, number>> {
  const limiter = new Limiter(parallelStats);
  const found = algorithms.map(async (algorithm) => {
    const directory = path.join(root, 'blobs', algorithm);
    const digests = (await readdir(directory)).flatMap((hex) => parseDigest(`${algorithm}:${hex}`) ?? []);
    const sizeOf = async (digest: Digest): Promise<[Digest, number]> => [
      digest,
      (await stat(path.join(directory, hexOf(digest)))).size,
    ];
    return Promise.all(digests.map((digest) => limiter.run(() => sizeOf(digest))));
  });
  return new Map((await Promise.all(found)).flat());
}

class FileContentStore implements ContentStore {
  constructor(
    readonly path: string,
    private readonly sizes: Map<Digest, number>,
    private readonly index: IndexFile,
  ) {}

  size(digest: Digest): number | undefined {
    return this.sizes.get(digest);
  }

  list(): readonly Digest[] {
    return [...this.sizes.keys()];
  }

  async readAll(digest: Digest, limitBytes: number): Promise<Buffer> {
    const size = this.sizes.get(digest);
    if (size === undefined) throw new RuntimeError('NotFound', 'read blob', { subject: digest });
    if (size > limitBytes)
      throw new RuntimeError('ResourceExhausted', 'read blob', {
        subject: digest,
        cause: `its ${size} bytes are more than the ${limitBytes} allowed`,
      });
    let content: Buffer;
    try {
      content = await readFile(this.blobPath(digest));
    } catch (error) {
      throw wrapError('read blob', error, digest);
    }
    checkBlob(digest, digestOf(content, algorithmOf(digest)));
    return content;
  }

  async *read(digest: Digest): AsyncIterable<Uint8Array> {
    const hash = startDigest(algorithmOf(digest));
    try {
      for await (const chunk of createReadStream(this.blobPath(digest), { highWaterMark: readChunkBytes })) {
        hash.update(chunk as Buffer);
        yield chunk as Buffer;
      }
    } catch (error) {
      throw wrapError('read blob', error, digest);
    }
    checkBlob(digest, finishDigest(hash, algorithmOf(digest)));
  }

  async write(digest: Digest, content: Uint8Array): Promise<void> {
    if (this.sizes.get(digest) === content.length) return;
    if (digestOf(content, algorithmOf(digest)) !== digest)
      throw new RuntimeError('DataLoss', 'store blob', { subject: digest, reason: 'DigestMismatch' });
    const ingest = await this.openIngest(digest, content.length, uniqueName(digest));
    try {
      await ingest.append(content);
      ingest.verify();
      await ingest.commit();
    } catch (error) {
      await ingest.abort();
      throw error;
    }
  }

  async ingest(digest: Digest, size: number): Promise<Ingest> {
    return this.openIngest(digest, size, partialName(digest));
  }

  private async openIngest(digest: Digest, size: number, name: string): Promise<FileIngest> {
    const partialPath = path.join(this.path, 'ingest', name);
    try {
      const handle = await openForWriting(partialPath);
      const left = await sizeLeft(handle, size);
      return new FileIngest({
        digest,
        size,
        partialPath,
        blobPath: this.blobPath(digest),
        handle,
        left,
        onCommit: () => this.sizes.set(digest, size),
      });
    } catch (error) {
      throw wrapError('begin blob', error, digest);
    }
  }

  async remove(digest: Digest): Promise<void> {
    this.sizes.delete(digest);
    try {
      await rm(this.blobPath(digest), { force: true });
    } catch (error) {
      throw wrapError('remove blob', error, digest);
    }
  }

  removePartials(olderThanMs: number, except: ReadonlySet<string>): Promise<void> {
    return removePartials(path.join(this.path, 'ingest'), olderThanMs, except);
  }

  usage(): { readonly bytes: bigint; readonly inodes: bigint } {
    let bytes = 0;
    for (const size of this.sizes.values()) bytes += size;
    return { bytes: BigInt(bytes), inodes: BigInt(this.sizes.size) };
  }

  readIndex(): Promise<readonly IndexEntry[] | undefined> {
    return this.index.read();
  }

  writeIndex(entries: readonly IndexEntry[]): Promise<void> {
    return this.index.write(entries);
  }

  private blobPath(digest: Digest): string {
    return path.join(this.path, 'blobs', algorithmOf(digest), hexOf(digest));
  }
}

function checkBlob(digest: Digest, actual: Digest): void {
  if (actual === digest) return;
  throw new RuntimeError('DataLoss', 'read blob', {
    subject: digest,
    cause: `the file was changed: its digest is ${actual}`,
    reason: 'DigestMismatch',
  });
}

let ingestCount = 0;

/** Two pulls may store the same document at once: each in a file of its own. */
function uniqueName(digest: Digest): string {
  ingestCount += 1;
  return `${hexOf(digest).slice(0, 16)}-${process.pid}-${ingestCount}.new`;
}

async function openForWriting(file: string): Promise<FileHandle> {
  try {
    return await open(file, 'r+');
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    return open(file, 'wx+', 0o600);
  }
}

/** What an earlier attempt left and can be continued: a file longer than the blob is started anew. */
async function sizeLeft(handle: FileHandle, size: number): Promise<number> {
  const left = (await handle.stat()).size;
  if (left <= size) return left;
  await handle.truncate(0);
  return 0;
}
