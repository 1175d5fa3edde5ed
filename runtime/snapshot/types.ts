/**
 * The layer store as the image room sees it.
 *
 * A layer's life: {@link LayerStore.prepare} streams the compressed bytes into the unpacker, which extracts them into a
 * directory of the layer's own and computes the diffId on the way. Nothing is visible yet: layers of one image are
 * prepared in parallel and in any order. {@link LayerStore.commit} then makes them visible, parents first, by rename.
 * What was prepared and never committed is removed by {@link PreparedLayer.discard}, or by the sweep at the next start.
 */

/** A layer on its way in: where its bytes come from and what they must turn out to be. */
export interface LayerIngest {
  /** Media type of the blob: decides the decompressor (gzip, zstd, none). */
  readonly mediaType: string;
  /** Digest of the compressed blob, for messages. The source checks it, not the layer store. */
  readonly digest: string;
  /** Size of the compressed blob in bytes, as the manifest declares it. */
  readonly size: number;
  /** Digest the uncompressed tar must have. */
  readonly diffId: string;
  readonly chainId: string;
  /** Absent for the lowest layer. The parent need not be committed yet. */
  readonly parentChainId?: string | undefined;
  /**
   * The compressed bytes, in chunks of 16 to 256 KiB that may be reused by nobody. It ends normally only after the
   * whole blob was read and its digest matched; it throws if the download failed, the digest differs or `signal` fired:
   * then prepare() rejects with that error and leaves nothing. A consumer that stops early calls return(), as
   * `for await` does.
   */
  readonly source: AsyncIterable<Uint8Array>;
  readonly signal: AbortSignal;
}

/** Unpacked and checked against its diffId, but not visible. */
export interface PreparedLayer {
  readonly chainId: string;
  readonly diffId: string;
  /** Size of the uncompressed tar. */
  readonly bytes: bigint;
  /** Removes it; safe to repeat, and nothing after a commit. */
  discard(): Promise<void>;
}

export interface LayerUsage {
  readonly path: string;
  readonly bytes: bigint;
  readonly inodes: bigint;
}

export interface LayerStore {
  /** Whether the layer is committed. */
  has(chainId: string): boolean;
  /** Chain ids of all committed layers. */
  list(): readonly string[];
  /**
   * Unpacks one layer into a directory of its own.
   *
   * @throws DataLoss if the content is no valid archive or its diffId differs, InvalidArgument naming the entry if it
   * tries to leave the root, ResourceExhausted if the disk is full, or the error of the source.
   */
  prepare(ingest: LayerIngest): Promise<PreparedLayer>;
  /** Makes layers durable and visible in the order given, parents first. A layer that is there already is discarded. */
  commit(layers: readonly PreparedLayer[]): Promise<void>;
  /** Removes a committed layer that nothing uses any more. Gone is success; the caller counts references. */
  remove(chainId: string): Promise<void>;
  usage(): Promise<LayerUsage>;
}
