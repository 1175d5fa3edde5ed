import { open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import type { DigestAlgorithm } from '../base/digest.js';
import type { Logger } from '../base/logger.js';
import { isErrno, messageOf, wrapError } from '../errors.js';
import type { IndexEntry } from './types.js';

/** The two files of an OCI image layout besides the blobs: oci-layout and index.json (image-spec, image-layout.md). */

const indexSchema = z.object({
  schemaVersion: z.literal(2),
  manifests: z.array(
    z.object({
      mediaType: z.string(),
      digest: z.string(),
      size: z.number().int().nonnegative(),
      annotations: z.record(z.string(), z.string()).optional(),
    }),
  ),
});

export async function writeLayoutFile(root: string): Promise<void> {
  try {
    await writeFile(path.join(root, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}', {
      flag: 'wx',
      mode: 0o600,
    });
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw wrapError('write oci-layout', error, root);
  }
}

export class IndexFile {
  private readonly file: string;
  private lastWrite: Promise<void> = Promise.resolve();

  constructor(
    private readonly root: string,
    private readonly algorithms: readonly DigestAlgorithm[],
    private readonly logger: Logger,
  ) {
    this.file = path.join(root, 'index.json');
  }

  async read(): Promise<readonly IndexEntry[] | undefined> {
    let text: string;
    try {
      text = await readFile(this.file, 'utf8');
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined;
      throw wrapError('read image index', error, this.file);
    }
    try {
      return indexSchema.parse(JSON.parse(text)).manifests;
    } catch (error) {
      await rename(this.file, `${this.file}.corrupt`);
      this.logger.error('image index unreadable, kept aside', {
        file: `${this.file}.corrupt`,
        error: messageOf(error),
      });
      return undefined;
    }
  }

  write(entries: readonly IndexEntry[]): Promise<void> {
    // A failed write must not fail the ones after it.
    const written = this.lastWrite.then(() => this.replace(entries));
    this.lastWrite = written.catch(() => undefined);
    return written;
  }

  private async replace(entries: readonly IndexEntry[]): Promise<void> {
    const temporary = path.join(this.root, 'ingest', 'index.json.new');
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    try {
      await Promise.all(
        this.algorithms.map((algorithm) => syncDirectory(path.join(this.root, 'blobs', algorithm))),
      );
      await writeDurably(temporary, JSON.stringify({ schemaVersion: 2, mediaType, manifests: entries }));
      await rename(temporary, this.file);
      await syncDirectory(this.root);
    } catch (error) {
      await rm(temporary, { force: true });
      throw wrapError('write image index', error, this.file);
    }
  }
}

async function writeDurably(file: string, text: string): Promise<void> {
  const handle = await open(file, 'w', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
