import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { codeOf, errnoOf, RuntimeError } from '../../errors.js';
import type { LayerIngest, LayerStore, LayerUsage, PreparedLayer } from '../../snapshot/types.js';

/**
 * A layer store for the tests of this room: it decompresses and checks diffIds as the real one does, and keeps the sizes
 * instead of the files. It also watches that the rules of LayerStore are kept.
 */
export class MemoryLayerStore implements LayerStore {
  readonly committed = new Map<string, bigint>();
  readonly prepared = new Set<string>();
  /** Chain ids in the order they were unpacked and committed. */
  readonly log: string[] = [];
  /** Called before a layer is read: a test may wait or throw in it. */
  onPrepare: (ingest: LayerIngest) => Promise<void> = async () => undefined;

  has(chainId: string): boolean {
    return this.committed.has(chainId);
  }

  list(): readonly string[] {
    return [...this.committed.keys()];
  }

  async prepare(ingest: LayerIngest): Promise<PreparedLayer> {
    const { chainId, diffId } = ingest;
    this.log.push(`prepare ${chainId}`);
    await this.onPrepare(ingest);
    const hash = createHash('sha256');
    let bytes = 0n;
    try {
      for await (const chunk of decompressed(ingest)) {
        hash.update(chunk);
        bytes += BigInt(chunk.length);
      }
    } catch (error) {
      throw new RuntimeError(isZlibError(error) ? 'DataLoss' : codeOf(error), 'unpack layer', {
        cause: error,
        reason: reasonOf(error),
      });
    }
    const actual = `sha256:${hash.digest('hex')}`;
    if (actual !== diffId)
      throw new RuntimeError('DataLoss', 'unpack layer', {
        cause: `diffId is ${actual}`,
        reason: 'DigestMismatch',
      });
    const key = `${chainId}#${this.log.length}`;
    this.prepared.add(key);
    return {
      chainId,
      diffId,
      bytes,
      discard: async () => void this.prepared.delete(key),
      key,
    } as PreparedLayer;
  }

  async commit(layers: readonly PreparedLayer[]): Promise<void> {
    await Promise.resolve();
    for (const layer of layers) {
      this.log.push(`commit ${layer.chainId}`);
      this.committed.set(layer.chainId, layer.bytes);
      await layer.discard();
    }
  }

  async remove(chainId: string): Promise<void> {
    this.committed.delete(chainId);
  }

  async usage(): Promise<LayerUsage> {
    const bytes = [...this.committed.values()].reduce((sum, size) => sum + size, 0n);
    return { path: '/layers', bytes, inodes: BigInt(this.committed.size) };
  }
}

function decompressed({ mediaType, source }: LayerIngest): AsyncIterable<Uint8Array> {
  const chunks = unpoured(source);
  return mediaType.endsWith('gzip') ? pipeline(chunks, createGunzip(), () => undefined) : chunks;
}

/** This store has no pipe to pour into, so its service must have no receiver. */
async function* unpoured(source: LayerIngest['source']): AsyncIterable<Uint8Array> {
  for await (const chunk of source) {
    if (typeof chunk === 'function') throw new Error('a blob was poured');
    yield chunk;
  }
}

function isZlibError(error: unknown): boolean {
  return errnoOf(error)?.startsWith('Z_') === true;
}

function reasonOf(error: unknown): string | undefined {
  return error instanceof RuntimeError ? error.reason : undefined;
}
