import type { Stats } from 'node:fs';

/**
 * The layer store as the image room sees it.
 *
 * A layer's life: {@link LayerStore.prepare} streams the compressed bytes into the unpacker, which extracts them into a
 * directory of the layer's own and computes the diffId on the way. Nothing is visible yet: layers of one image are
 * prepared in parallel and in any order. {@link LayerStore.commit} then makes them visible, parents first, by rename.
 * What was prepared and never committed is removed by {@link PreparedLayer.discard}, or by the sweep at the next start.
 */

/**
 * Writes the next part of a layer into the unpacker's pipe by itself, without bringing the bytes here. False if nobody
 * reads the pipe any more; never rejects otherwise than by what makes the layer fail.
 */
export type Pour = (pipe: number) => Promise<boolean>;

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
   * The compressed bytes, in chunks of 16 to 256 KiB that may be reused by nobody, or poured. It ends normally only after the
   * whole blob was read and its digest matched; it throws if the download failed, the digest differs or `signal` fired:
   * then prepare() rejects with that error and leaves nothing. A consumer that stops early calls return(), as
   * `for await` does.
   */
  readonly source: AsyncIterable<Uint8Array | Pour>;
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
  /**
   * Makes layers visible in the order given, parents first. A layer that is there already is discarded. They outlive the
   * daemon at once and a loss of power a moment later: lost until then is the whole layer.
   */
  commit(layers: readonly PreparedLayer[]): Promise<void>;
  /** Removes a committed layer that nothing uses any more. Gone is success; the caller counts references. */
  remove(chainId: string): Promise<void>;
  usage(): Promise<LayerUsage>;
}

/**
 * Active snapshots: the writable layers of containers.
 *
 * A snapshot has a `key` (the container's id), stands over the committed layers of one chain and consists of two
 * directories, `upper` and `work`, that overlayfs writes to. Nothing is mounted here: whoever starts a container makes
 * the overlay inside the container's mount namespace from {@link ActiveSnapshot}. While a snapshot exists its layers
 * stay, also when their image is removed. All methods may be repeated; one that is aborted by a crash is completed or
 * undone by {@link Snapshots.sweep} at the next start.
 */
export interface Snapshots {
  /** Makes the directories; on a container's start path, so one hop and no sync. @throws NotFound (a layer is missing) */
  prepare(key: string, chainId: string): Promise<ActiveSnapshot>;
  find(key: string): ActiveSnapshot | undefined;
  /** What an image is mounted from, read-only. Whoever mounts it keeps the layers. @throws NotFound (a layer is missing) */
  layersOf(chainId: string): ImageLayers;
  /** Removes the writable layer, which nothing may have mounted any more. Gone is success. */
  remove(key: string): Promise<void>;
  /** Removes the snapshots of every key that is not in the set, and what a crash left. */
  sweep(living: ReadonlySet<string>): Promise<void>;
  /**
   * Disk usage of the writable layer as it was last measured: of who asks more often than once a minute, only the first
   * waits for that. Undefined if there is no such snapshot.
   */
  usage(key: string): Promise<SnapshotUsage | undefined>;
  /** The committed layers of a chain as one read-only tree. To be closed. @throws NotFound (a layer is missing) */
  view(chainId: string): Promise<View>;
  /**
   * Fills a host directory with what the image has at a path: content, owner, mode, attributes, of the directory itself
   * too. Nothing there, or no directory, is success and leaves the host directory as it is.
   */
  copyOut(chainId: string, path: string, hostDirectory: string, signal?: AbortSignal): Promise<void>;
  /**
   * Writes what the container changed as an OCI layer into an open file or pipe, from its current position. The
   * container should be frozen or stopped: a file that changes meanwhile is cut or padded to the size it had.
   * @throws NotFound, FailedPrecondition (overlay features that a layer cannot express)
   */
  diff(
    key: string,
    to: { readonly fd: number; readonly compression: 'gzip' | 'none' },
    signal?: AbortSignal,
  ): Promise<DiffResult>;
  /** Applies such a layer (gzip, zstd or plain) to a snapshot that no mount uses yet. @throws as LayerStore.prepare */
  applyDiff(key: string, source: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<void>;
}

/** What the overlay of a container is mounted from. Lower names are below `layersDir`, the top layer first. */
export interface ActiveSnapshot {
  readonly kind: 'overlay';
  readonly key: string;
  readonly chainId: string;
  readonly layersDir: string;
  readonly lower: readonly string[];
  readonly upper: string;
  readonly work: string;
}

/** The layers of a chain for an overlay without upper directory, which wants two of them at least. */
export type ImageLayers = Pick<ActiveSnapshot, 'layersDir' | 'lower'>;

export interface SnapshotUsage extends LayerUsage {
  readonly atNs: bigint;
}

export interface DiffResult {
  /** Digest and size of the uncompressed tar. */
  readonly diffId: string;
  readonly bytes: bigint;
  readonly entries: number;
}

/**
 * A hostile tree, read safely: paths are resolved inside it whatever its links say, and only regular files are opened,
 * so that neither a fifo nor a device nor a file of terabytes in the place of /etc/passwd does harm.
 */
export interface View {
  /** The content of a file. @throws NotFound, FailedPrecondition (no regular file), ResourceExhausted (longer than `maxBytes`) */
  readFile(path: string, maxBytes: number): Promise<Buffer>;
  /** Following links; undefined if there is nothing. */
  stat(path: string): Promise<Stats | undefined>;
  /** The link at the path itself. @throws NotFound, FailedPrecondition (no link) */
  readlink(path: string): Promise<string>;
  /** Names in a directory, as bytes in latin1. @throws NotFound, FailedPrecondition (no directory), ResourceExhausted */
  list(path: string): Promise<readonly string[]>;
  close(): void;
}

/** The layer store and the snapshots over it, which share the knowledge of which layers are in use. */
export interface Snapshotter {
  readonly layers: LayerStore;
  readonly snapshots: Snapshots;
  /** Waits for background work; nothing may be asked of it afterwards. */
  close(): Promise<void>;
}
