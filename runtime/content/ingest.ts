import type { Hash } from 'node:crypto';
import { rename, rm, type FileHandle } from 'node:fs/promises';
import { algorithmOf, finishDigest, startDigest, type Digest } from '../base/digest.js';
import { countYoungBytes } from '../base/garbage.js';
import { RuntimeError, wrapError } from '../errors.js';
import type { Ingest } from './types.js';

/** Chunks that wait for the disk: beyond this the sender has to wait. */
const backlogBytes = 4 * 1024 * 1024;
const replayChunkBytes = 256 * 1024;

export interface IngestFile {
  readonly digest: Digest;
  /** Size the blob must have. */
  readonly size: number;
  /** Where it grows and where it belongs. */
  readonly partialPath: string;
  readonly blobPath: string;
  readonly handle: FileHandle;
  /** Bytes that an earlier attempt left in the file. */
  readonly left: number;
  /** Called after the rename. */
  readonly onCommit: () => void;
}

/** See {@link Ingest}. Chunks are gathered while a write is under way and go out together in the next one. */
export class FileIngest implements Ingest {
  private readonly hash: Hash;
  private received = 0;
  private waiting: Uint8Array[] = [];
  private waitingBytes = 0;
  private written: number;
  private writing: Promise<void> | undefined;
  private failure: RuntimeError | undefined;
  private verified = false;
  private adopted: Digest | undefined;

  constructor(private readonly file: IngestFile) {
    this.hash = startDigest(algorithmOf(file.digest));
    this.written = file.left;
  }

  get left(): number {
    return this.file.left;
  }

  get offset(): number {
    return this.received;
  }

  replay(): AsyncIterable<Uint8Array> {
    return this.readUpTo(this.file.left);
  }

  private async *readUpTo(end: number): AsyncIterable<Uint8Array> {
    while (this.received < end) {
      const length = Math.min(replayChunkBytes, end - this.received);
      const { bytesRead, buffer } = await this.file.handle.read(
        Buffer.allocUnsafe(length),
        0,
        length,
        this.received,
      );
      if (bytesRead === 0) throw new RuntimeError('DataLoss', 'continue blob', { subject: this.file.digest });
      const chunk = buffer.subarray(0, bytesRead);
      this.hash.update(chunk);
      this.received += bytesRead;
      yield chunk;
    }
  }

  async append(chunk: Uint8Array): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    this.received += chunk.length;
    if (this.received > this.file.size) throw this.wrong(`more than the ${this.file.size} bytes announced`);
    this.hash.update(chunk);
    countYoungBytes(chunk.length);
    this.waiting.push(chunk);
    this.waitingBytes += chunk.length;
    this.writing ??= this.writeWaiting();
    if (this.waitingBytes > backlogBytes) await this.writing;
  }

  get emptyFd(): number | undefined {
    return this.file.left === 0 && this.received === 0 ? this.file.handle.fd : undefined;
  }

  async adopt(bytes: number, digest: Digest | undefined): Promise<void> {
    this.written = bytes;
    this.adopted = digest;
    if (digest === undefined) for await (const chunk of this.readUpTo(bytes)) void chunk;
    else this.received = bytes;
  }

  /** Never rejects: what went wrong is told to the next append and to commit. */
  private async writeWaiting(): Promise<void> {
    try {
      while (this.waiting.length > 0) {
        const chunks = this.waiting;
        this.waiting = [];
        this.waitingBytes = 0;
        await this.writeAll(chunks);
      }
    } catch (error) {
      this.failure = wrapError('write blob', error, this.file.digest);
    }
    this.writing = undefined;
  }

  private async writeAll(chunks: readonly Uint8Array[]): Promise<void> {
    const total = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    const { bytesWritten } = await this.file.handle.writev(chunks, this.written);
    this.written += bytesWritten;
    if (bytesWritten < total) await this.writeAll([Buffer.concat(chunks).subarray(bytesWritten)]);
  }

  verify(): void {
    const { digest, size } = this.file;
    if (this.received !== size) throw this.wrong(`${this.received} bytes instead of ${size}`);
    const actual = this.adopted ?? finishDigest(this.hash, algorithmOf(digest));
    if (actual !== digest) throw this.wrong(`the content has the digest ${actual}`);
    this.verified = true;
  }

  private wrong(cause: string): RuntimeError {
    return new RuntimeError('DataLoss', 'check blob', {
      subject: this.file.digest,
      cause,
      reason: 'DigestMismatch',
    });
  }

  async commit(): Promise<void> {
    await this.settle();
    if (this.failure !== undefined) throw this.failure;
    if (!this.verified)
      throw new RuntimeError('Internal', 'commit an unchecked blob', { subject: this.file.digest });
    try {
      await this.file.handle.datasync();
      await this.file.handle.close();
      await rename(this.file.partialPath, this.file.blobPath);
    } catch (error) {
      throw wrapError('store blob', error, this.file.digest);
    }
    this.file.onCommit();
  }

  async suspend(): Promise<void> {
    await this.settle();
    await this.file.handle.close();
  }

  async abort(): Promise<void> {
    await this.suspend();
    await rm(this.file.partialPath, { force: true });
  }

  private async settle(): Promise<void> {
    while (this.writing !== undefined) await this.writing;
  }
}
