import type { Digest } from '../base/digest.js';

/**
 * Blobs by digest, in an OCI image layout.
 *
 * A blob is immutable and either whole or not there: it grows as an *ingest* beside the blobs and becomes visible by
 * rename, after its size and digest matched and it was synced. An ingest that was interrupted can be kept and continued,
 * in this process or the next one. The store counts no references: who knows the manifests says what to remove.
 */
export interface ContentStore {
  /** Root of the image layout. */
  readonly path: string;
  /** Size of a blob that is here, else undefined. */
  size(digest: Digest): number | undefined;
  list(): readonly Digest[];
  /**
   * A small blob, checked against its digest.
   * @throws NotFound; ResourceExhausted if it is larger than the limit; DataLoss if it is not what its name says.
   */
  readAll(digest: Digest, limitBytes: number): Promise<Buffer>;
  /** Chunks of a blob; the end is reached only if the digest matched, else DataLoss is thrown. */
  read(digest: Digest): AsyncIterable<Uint8Array>;
  /** Stores a small document. What is there already is left alone. */
  write(digest: Digest, content: Uint8Array): Promise<void>;
  /**
   * Begins to receive a blob, or continues what {@link Ingest.suspend} left. One at a time for each digest: the caller
   * sees to it.
   */
  ingest(digest: Digest, size: number): Promise<Ingest>;
  /** Removes a blob; gone is success. */
  remove(digest: Digest): Promise<void>;
  /** Removes suspended ingests that nobody continued for so long, except those of the digests given. */
  removePartials(olderThanMs: number, except: ReadonlySet<string>): Promise<void>;
  /** Bytes and files, ingests left out. */
  usage(): { readonly bytes: bigint; readonly inodes: bigint };
  /** The entries of index.json; undefined if there is none, and after an unreadable one was put aside as `.corrupt`. */
  readIndex(): Promise<readonly IndexEntry[] | undefined>;
  /** Replaces index.json durably, after the directory entries of the blobs were synced. Calls are carried out in order. */
  writeIndex(entries: readonly IndexEntry[]): Promise<void>;
}

/** A blob being received. Chunks are hashed in order and written in the background. */
export interface Ingest {
  /** Bytes that an earlier attempt left. */
  readonly left: number;
  /** Bytes received so far, {@link Ingest.replay} included. */
  readonly offset: number;
  /** What an earlier attempt left, to be passed on to whoever else wants the bytes. Hashed on the way; call it first. */
  replay(): AsyncIterable<Uint8Array>;
  /**
   * Takes the next chunk, which must not change any more. Resolves when there is room for more.
   * @throws DataLoss if the blob grows beyond its size, ResourceExhausted if the disk is full.
   */
  append(chunk: Uint8Array): Promise<void>;
  /**
   * Descriptor of the file, for somebody who writes the whole blob in this one's stead, from its start. {@link adopt}
   * tells how far that went. Undefined if something was received or left already.
   */
  readonly emptyFd: number | undefined;
  /** Takes what was written through {@link emptyFd}: so many bytes; their digest if somebody trusted has computed it. */
  adopt(bytes: number, digest: Digest | undefined): Promise<void>;
  /** Whether everything received has the size and the digest. Ends the hash; nothing can be appended afterwards. */
  verify(): void;
  /** Syncs and makes the blob visible, after {@link Ingest.verify}. */
  commit(): Promise<void>;
  /** Keeps what was received for a later ingest of the same digest. */
  suspend(): Promise<void>;
  /** Removes what was received. */
  abort(): Promise<void>;
}

/** A descriptor in index.json, in the field names of the OCI image-spec. */
export interface IndexEntry {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
}
