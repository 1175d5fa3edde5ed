import { constants } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { open, rename } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { closeFd, fileBatch, removeTree, syncFilesystem, type Fd } from '../../native/index.js';
import { failpoint } from '../base/failpoint.js';
import { KeyedLock } from '../base/keyed-lock.js';
import type { Logger } from '../base/logger.js';
import { RuntimeError, wrapError } from '../errors.js';
import { fixImplied } from './implied.js';
import { LayerSync } from './layer-sync.js';
import { LayerTable, visible, type Layer, type LayerRecord } from './layer-table.js';
import { LAYER_CONTENT, LAYER_RECORD, type Layout } from './layout.js';
import { openDirectory, type LowerDirectory } from './overlay.js';
import type { RecoveredLayers } from './recover-layers.js';
import type { LayerIngest, LayerStore, LayerUsage, PreparedLayer } from './types.js';
import { runUnpacker } from './unpacker.js';

export interface LayerStoreOptions {
  readonly layout: Layout;
  readonly logger: Logger;
  readonly unpackerPath: string;
  /** Of the running kernel. */
  readonly bootId: string;
  /** What one layer may have, uncompressed. */
  readonly limits: { readonly bytes: number; readonly entries: number };
  /** Whether a snapshot stands on the layer. */
  readonly isInUse: (chainId: string) => boolean;
  /** Called when a layer is no longer there for anybody, before its files go. */
  readonly onRemove: (chainId: string) => void;
}

const extractedSchema = z.object({
  ok: z.literal(true),
  diffId: z.string(),
  bytes: z.number().int(),
  entries: z.number().int(),
  diskBytes: z.number().int(),
  rootXattrs: z.number().int(),
  ignoredXattrs: z.number().int(),
  opaqueRoot: z.boolean(),
  implied: z.array(z.string()),
});

/** A layer in the ingest directory. */
interface Unpacked {
  readonly name: string;
  readonly ingest: LayerIngest;
  readonly extracted: z.infer<typeof extractedSchema>;
}

/** The committed layers on disk, and those on their way in; see types.ts for their life. */
export class DiskLayerStore implements LayerStore {
  readonly table = new LayerTable();
  readonly layersFd: Fd;
  private readonly ingestFd: Fd;
  private readonly unpacked = new WeakMap<PreparedLayer, Unpacked>();
  /** Removed by their images while a snapshot or another layer stands on them. */
  private readonly doomed = new Set<string>();
  private readonly publishing = new KeyedLock();
  private readonly layerSync: LayerSync;
  private lastName: number;
  /** Where a directory lies on the disk may depend on its name: no two daemons start in the same place. */
  private readonly salt = randomBytes(4).toString('hex');

  constructor(
    private readonly options: LayerStoreOptions,
    recovered: RecoveredLayers,
  ) {
    this.layersFd = openDirectory(options.layout.layers);
    this.ingestFd = openDirectory(options.layout.ingest);
    this.lastName = recovered.lastName;
    for (const layer of recovered.layers) this.table.add(layer);
    const { layers: layersPath } = options.layout;
    this.layerSync = new LayerSync({
      layersPath,
      logger: options.logger,
      sync: () => syncFilesystem(layersPath),
      isPresent: (layer) => this.table.get(layer.record.chainId) === layer,
    });
    this.layerSync.add(recovered.layers);
  }

  /** Returns when all layers are durable. */
  async close(): Promise<void> {
    await this.layerSync.flush();
    closeFd(this.layersFd);
    closeFd(this.ingestFd);
  }

  has(chainId: string): boolean {
    return this.table.get(chainId) !== undefined && !this.doomed.has(chainId);
  }

  list(): readonly string[] {
    return this.table
      .all()
      .map(({ record }) => record.chainId)
      .filter((chainId) => !this.doomed.has(chainId));
  }

  usage(): Promise<LayerUsage> {
    const records = this.table.all().map(({ record }) => record);
    const bytes = records.reduce((sum, record) => sum + record.diskBytes, 0);
    const inodes = records.reduce((sum, record) => sum + record.inodes, 0);
    return Promise.resolve({
      path: this.options.layout.layers,
      bytes: BigInt(bytes),
      inodes: BigInt(inodes),
    });
  }

  /** The directories of a chain that show, the top one first. @throws NotFound */
  lowerOf(chainId: string): readonly LowerDirectory[] {
    return visible(this.table.chain(chainId)).map((layer) => this.lowerDirectory(layer));
  }

  private lowerDirectory({ name }: Layer): LowerDirectory {
    return { directoryFd: this.layersFd, name: `${name}/${LAYER_CONTENT}` };
  }

  // ---- in ----

  async prepare(ingest: LayerIngest): Promise<PreparedLayer> {
    this.lastName += 1;
    const name = String(this.lastName);
    const directory = this.ingestPath(name);
    try {
      const extracted = await this.unpack(ingest, directory);
      const prepared = {
        chainId: ingest.chainId,
        diffId: ingest.diffId,
        bytes: BigInt(extracted.bytes),
        discard: () => this.discard(prepared),
      };
      this.unpacked.set(prepared, { name, ingest, extracted });
      return prepared;
    } catch (error) {
      await removeTree(directory);
      throw wrapError('unpack layer', error, ingest.digest);
    }
  }

  private async unpack(ingest: LayerIngest, directory: string) {
    const { unpackerPath, limits, logger } = this.options;
    const content = path.join(directory, LAYER_CONTENT);
    await fileBatch([
      { op: 'mkdir', path: directory, mode: 0o700 },
      { op: 'mkdir', path: content, mode: 0o755 },
    ]);
    failpoint('snapshot.unpack.after-mkdir');
    const handle = await open(content, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      const args = ['extract', '--overlay', `--max-bytes=${limits.bytes}`, `--max-entries=${limits.entries}`];
      const { source: input, signal } = ingest;
      const run = { unpackerPath, arguments: args, directoryFd: handle.fd, input, signal };
      const extracted = await runUnpacker(run, extractedSchema);
      if (extracted.diffId !== ingest.diffId) {
        const cause = `its content is ${extracted.diffId}, the image says ${ingest.diffId}`;
        throw new RuntimeError('DataLoss', 'check diffId', { cause });
      }
      if (extracted.ignoredXattrs > 0) {
        const { digest } = ingest;
        logger.warn('extended attributes of a layer ignored', { digest, count: extracted.ignoredXattrs });
      }
      return extracted;
    } finally {
      await handle.close();
    }
  }

  private async discard(prepared: PreparedLayer): Promise<void> {
    const unpacked = this.unpacked.get(prepared);
    if (unpacked === undefined) return;
    this.unpacked.delete(prepared);
    await removeTree(this.ingestPath(unpacked.name));
  }

  private ingestPath(name: string): string {
    return path.join(this.options.layout.ingest, this.ingestName(name));
  }

  private ingestName(name: string): string {
    return `${name}-${this.salt}`;
  }

  async commit(layers: readonly PreparedLayer[]): Promise<void> {
    const complete = new Map<string, Layer>();
    for (const prepared of layers) {
      const unpacked = this.unpacked.get(prepared);
      if (unpacked === undefined || this.table.get(prepared.chainId) !== undefined) continue;
      complete.set(prepared.chainId, await this.complete(unpacked, complete));
    }
    for (const prepared of layers) {
      const publish = (): Promise<void> => this.publish(prepared, complete.get(prepared.chainId));
      await this.publishing.hold(prepared.chainId, publish);
    }
  }

  /** Gives a layer what depends on those below it, which may be on their way in too, and its record. */
  private async complete(unpacked: Unpacked, others: ReadonlyMap<string, Layer>): Promise<Layer> {
    const { name, ingest, extracted } = unpacked;
    const { unpackerPath, layout, bootId } = this.options;
    const below = extracted.opaqueRoot ? [] : this.chainBelow(ingest, others);
    const directory = path.join(this.ingestPath(name), LAYER_CONTENT);
    const root = await fixImplied({
      unpackerPath,
      directory,
      paths: extracted.implied,
      rootHasXattrs: extracted.rootXattrs > 0,
      below: visible(below).map((layer) => this.lowerAnywhere(layer, others)),
      rootBelow: below[0]?.record.root,
      scratchDir: layout.ingest,
      signal: ingest.signal,
    });
    const record: LayerRecord = {
      version: 1,
      chainId: ingest.chainId,
      diffId: ingest.diffId,
      parentChainId: ingest.parentChainId,
      digest: ingest.digest,
      bytes: extracted.bytes,
      diskBytes: extracted.diskBytes,
      inodes: extracted.entries,
      opaqueRoot: extracted.opaqueRoot,
      root,
      boot: bootId,
    };
    const file = path.join(this.ingestPath(name), LAYER_RECORD);
    await fileBatch([{ op: 'replace', path: file, data: JSON.stringify(record), mode: 0o600 }]);
    return { name, record };
  }

  private chainBelow({ parentChainId }: LayerIngest, others: ReadonlyMap<string, Layer>): readonly Layer[] {
    const chain: Layer[] = [];
    for (let id = parentChainId; id !== undefined;) {
      const layer = this.table.get(id) ?? others.get(id);
      if (layer === undefined)
        throw new RuntimeError('FailedPrecondition', 'commit layer before its parent', { subject: id });
      chain.push(layer);
      id = layer.record.parentChainId;
    }
    return chain;
  }

  private lowerAnywhere(layer: Layer, others: ReadonlyMap<string, Layer>): LowerDirectory {
    const { name, record } = layer;
    if (others.get(record.chainId) !== layer) return this.lowerDirectory(layer);
    return { directoryFd: this.ingestFd, name: `${this.ingestName(name)}/${LAYER_CONTENT}` };
  }

  /** The rename that makes a layer visible; or its end, if somebody else was faster. */
  private async publish(prepared: PreparedLayer, layer: Layer | undefined): Promise<void> {
    this.doomed.delete(prepared.chainId);
    if (layer === undefined || this.table.get(prepared.chainId) !== undefined) return this.discard(prepared);
    const { parentChainId } = layer.record;
    if (parentChainId !== undefined && this.table.get(parentChainId) === undefined) {
      throw new RuntimeError('FailedPrecondition', 'commit layer before its parent', {
        subject: parentChainId,
      });
    }
    const { layout } = this.options;
    this.table.add(layer); // first, so that the parent is not removed meanwhile
    try {
      failpoint('snapshot.commit.before-rename');
      await rename(this.ingestPath(layer.name), path.join(layout.layers, layer.name));
      failpoint('snapshot.commit.after-rename');
    } catch (error) {
      this.table.delete(layer.record.chainId);
      throw error;
    }
    this.unpacked.delete(prepared);
    this.layerSync.add([layer]);
  }

  // ---- out ----

  async remove(chainId: string): Promise<void> {
    if (this.table.get(chainId) === undefined) return;
    this.doomed.add(chainId);
    await this.reap();
  }

  /** Removes what its image gave up and nothing stands on any more. */
  async reap(): Promise<void> {
    for (let layer = this.nextToReap(); layer !== undefined; layer = this.nextToReap()) {
      const { name, record } = layer;
      this.table.delete(record.chainId);
      this.doomed.delete(record.chainId);
      this.options.onRemove(record.chainId);
      const { layout } = this.options;
      const gone = path.join(layout.ingest, `removed-${name}`);
      await rename(path.join(layout.layers, name), gone);
      failpoint('snapshot.reap.after-rename');
      await removeTree(gone);
    }
  }

  private nextToReap(): Layer | undefined {
    for (const chainId of this.doomed) {
      if (!this.table.hasChildren(chainId) && !this.options.isInUse(chainId)) return this.table.get(chainId);
    }
    return undefined;
  }
}
