import type { Digest } from '../base/digest.js';
import type { KeyedLock } from '../base/keyed-lock.js';
import { Limiter } from '../base/limiter.js';
import type { ContentStore, Ingest } from '../content/types.js';
import { codeOf, RuntimeError } from '../errors.js';
import type { LayerStore, Pour, PreparedLayer } from '../snapshot/types.js';
import { CommitQueue } from './commit-queue.js';
import { downloadBlob } from './download.js';
import type { Receiver } from './receiver.js';
import type { RegistryClient } from './registry/client.js';
import type { RetryOptions } from './registry/retry.js';
import type { ImageLayer } from './types.js';

/** Shared by all pulls: no blob is downloaded and no layer unpacked twice at the same time. */
export interface LayerLocks {
  readonly chains: KeyedLock;
  readonly blobs: KeyedLock;
}

export interface LayerFetch {
  readonly layers: readonly ImageLayer[];
  readonly client: RegistryClient;
  readonly content: ContentStore;
  readonly store: LayerStore;
  readonly locks: LayerLocks;
  readonly parallel: number;
  readonly receiver: Receiver | undefined;
  readonly retry: RetryOptions;
  readonly noProgressTimeoutMs: number;
  readonly onBytes: (bytes: number) => void;
  readonly onLayer: (layer: ImageLayer) => void;
  readonly signal: AbortSignal;
}

/**
 * Brings every layer of an image into the layer store: downloaded once, hashed, written as a blob and unpacked in one
 * pass. Layers go in parallel and become visible parents first. If one fails, the others are stopped; what is committed
 * by then stays for the next try.
 */
export async function fetchLayers(fetch: LayerFetch): Promise<void> {
  const failed = new AbortController();
  const signal = AbortSignal.any([fetch.signal, failed.signal]);
  const queue = new CommitQueue(fetch.store);
  const limiter = new Limiter(fetch.parallel);
  const tasks = fetch.layers.map((layer, index) =>
    fetchLayer({ ...fetch, signal }, { layer, index, queue, limiter }).catch((error: unknown) => {
      queue.fail(error);
      failed.abort(error);
      throw error;
    }),
  );
  await Promise.allSettled(tasks);
  if (failed.signal.aborted) await queue.discard();
  signal.throwIfAborted();
}

interface LayerTask {
  readonly layer: ImageLayer;
  readonly index: number;
  readonly queue: CommitQueue;
  readonly limiter: Limiter;
}

/**
 * The lock of a chain is held until the layer is committed, that of a blob until it is unpacked. A holder waits only for
 * the layers below its own, so pulls of images that share layers cannot wait for each other in a circle.
 */
function fetchLayer(fetch: LayerFetch, { layer, index, queue, limiter }: LayerTask): Promise<void> {
  const { store, locks, signal } = fetch;
  const work = async (): Promise<void> => {
    if (store.has(layer.chainId)) {
      fetch.onLayer(layer);
      return queue.add(index, undefined);
    }
    const prepare = (): Promise<PreparedLayer> => limiter.run(() => prepareLayer(fetch, index), signal);
    const prepared = await locks.blobs.hold(layer.digest, prepare, signal);
    fetch.onLayer(layer);
    await queue.add(index, prepared);
  };
  return locks.chains.hold(layer.chainId, work, signal);
}

/** Unpacks one layer, from the content store if its blob is there and from the registry otherwise. */
async function prepareLayer(fetch: LayerFetch, index: number): Promise<PreparedLayer> {
  const layer = layerAt(fetch, index);
  const known = fetch.content.size(layer.digest);
  if (known === undefined) return receiveLayer(fetch, index);
  try {
    return await unpack(fetch, index, fetch.content.read(layer.digest));
  } catch (error) {
    fetch.signal.throwIfAborted();
    if (!(await isDamaged(fetch.content, layer.digest))) throw error;
    await fetch.content.remove(layer.digest);
    return receiveLayer(fetch, index);
  }
}

/** Whether the file of a blob is gone or was changed: then it is downloaded again. */
async function isDamaged(content: ContentStore, digest: Digest): Promise<boolean> {
  try {
    await drain(content.read(digest));
    return false;
  } catch (error) {
    return ['DataLoss', 'NotFound'].includes(codeOf(error));
  }
}

async function drain(source: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of source) void chunk;
}

async function receiveLayer(fetch: LayerFetch, index: number): Promise<PreparedLayer> {
  const { digest, size } = layerAt(fetch, index);
  const ingest = await fetch.content.ingest(digest, size);
  try {
    return await receiveInto(ingest, fetch, index);
  } catch (error) {
    if (codeOf(error) !== 'DataLoss') throw error;
    // What an earlier try left may have been damaged since, and a mirror may lie: then it is downloaded anew.
    const lied = fetch.client.distrust(digest);
    if (ingest.left === 0 && !lied) throw error;
    return receiveLayer(fetch, index);
  }
}

async function receiveInto(ingest: Ingest, fetch: LayerFetch, index: number): Promise<PreparedLayer> {
  const { digest, size } = layerAt(fetch, index);
  // The blob is synced while the unpacker still works on the last bytes.
  let stored: Promise<void> | undefined;
  const source = async function* (): AsyncIterable<Uint8Array | Pour> {
    yield* downloadBlob({ ...fetch, ingest, digest, size });
    stored = ingest.commit();
    stored.catch(() => undefined);
  };
  let prepared: PreparedLayer | undefined;
  try {
    prepared = await unpack(fetch, index, source());
    if (stored === undefined) throw unreadRest(digest);
    await stored;
    return prepared;
  } catch (error) {
    await prepared?.discard();
    await stored?.catch(() => undefined);
    await (isWorthKeeping(error, fetch.signal) ? ingest.suspend() : ingest.abort());
    throw error;
  }
}

/** Then its digest is not known: what the unpacker took was perhaps not what the manifest means. */
function unreadRest(digest: Digest): RuntimeError {
  return new RuntimeError('DataLoss', 'unpack layer', {
    subject: digest,
    cause: 'the blob goes on behind the end of the archive',
    reason: 'LayerInvalid',
  });
}

/** Called off, or a connection that broke: what came is kept for the next try. What was wrong is not. */
function isWorthKeeping(error: unknown, signal: AbortSignal): boolean {
  return signal.aborted || ['Unavailable', 'DeadlineExceeded', 'Cancelled'].includes(codeOf(error));
}

async function unpack(
  fetch: LayerFetch,
  index: number,
  source: AsyncIterable<Uint8Array | Pour>,
): Promise<PreparedLayer> {
  const { mediaType, digest, size, diffId, chainId } = layerAt(fetch, index);
  const parentChainId = fetch.layers[index - 1]?.chainId;
  return fetch.store.prepare({
    mediaType,
    digest,
    size,
    diffId,
    chainId,
    parentChainId,
    source,
    signal: fetch.signal,
  });
}

function layerAt({ layers }: LayerFetch, index: number): ImageLayer {
  const layer = layers[index];
  if (layer === undefined) throw new RuntimeError('Internal', `layer ${index} of ${layers.length}`);
  return layer;
}
