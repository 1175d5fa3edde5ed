import { chmod, chown, readdir } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { fileBatch, readFiles, removeTree } from '../../native/index.js';
import { failpoint } from '../base/failpoint.js';
import type { Logger } from '../base/logger.js';
import { isErrno, messageOf, RuntimeError } from '../errors.js';
import { fixImplied } from './implied.js';
import type { RootAttributes } from './layer-table.js';
import type { DiskLayerStore } from './layer-store.js';
import {
  EMPTY_LAYER,
  LAYER_CONTENT,
  SNAPSHOT_RECORD,
  SNAPSHOT_UPPER,
  SNAPSHOT_WORK,
  type Layout,
} from './layout.js';
import type { ActiveSnapshot, ImageLayers, SnapshotUsage } from './types.js';
import { UsageMeter } from './usage-meter.js';

const recordSchema = z.object({ version: z.literal(1), chainId: z.string() });

const plainRoot: RootAttributes = { mode: 0o755, uid: 0, gid: 0, plain: true };

export interface ActiveSnapshotsOptions {
  readonly layout: Layout;
  readonly logger: Logger;
  readonly unpackerPath: string;
  readonly layers: () => DiskLayerStore;
}

/** The writable layers of containers. Their keys are directory names of ours, never text from outside. */
export class ActiveSnapshots {
  private readonly active = new Map<string, ActiveSnapshot>();
  /** Snapshots per top layer. */
  private readonly users = new Map<string, number>();
  private readonly usages = new UsageMeter();

  constructor(private readonly options: ActiveSnapshotsOptions) {}

  /** Reads the records of an earlier process. What has none is left to {@link sweep}. */
  async load(): Promise<void> {
    const keys = await readdir(this.options.layout.containers);
    const texts = await readFiles(keys.map((key) => path.join(this.directory(key), SNAPSHOT_RECORD)));
    keys.forEach((key, index) => {
      const text = texts[index];
      const record = typeof text === 'string' ? parseRecord(text) : undefined;
      if (record !== undefined) this.readopt(key, record.chainId);
    });
  }

  private readopt(key: string, chainId: string): void {
    try {
      this.add(this.describe(key, chainId));
    } catch (error) {
      this.options.logger.warn('writable layer without its lower layers', {
        containerId: key,
        error: messageOf(error),
      });
    }
  }

  isInUse(chainId: string): boolean {
    return this.users.has(chainId);
  }

  find(key: string): ActiveSnapshot | undefined {
    return this.active.get(key);
  }

  /** The empty layer makes a second one where there is only one. */
  layersOf(chainId: string): ImageLayers {
    const lower = this.lowerNames(chainId);
    const empty = `${EMPTY_LAYER}/${LAYER_CONTENT}`;
    return { layersDir: this.options.layout.layers, lower: lower.length === 1 ? [...lower, empty] : lower };
  }

  get(key: string): ActiveSnapshot {
    const snapshot = this.active.get(key);
    if (snapshot === undefined) throw new RuntimeError('NotFound', 'find writable layer', { subject: key });
    return snapshot;
  }

  async prepare(key: string, chainId: string): Promise<ActiveSnapshot> {
    const known = this.active.get(key);
    if (known?.chainId === chainId) return known;
    if (known !== undefined) throw new RuntimeError('AlreadyExists', 'make writable layer', { subject: key });
    const snapshot = this.describe(key, chainId);
    this.add(snapshot); // first, so that the layers stay
    try {
      await this.make(snapshot);
      return snapshot;
    } catch (error) {
      this.forget(snapshot);
      throw error;
    }
  }

  private async make(snapshot: ActiveSnapshot): Promise<void> {
    const root = this.rootOf(snapshot.chainId);
    try {
      await this.makeDirectories(snapshot, root);
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
      await this.removeFiles(snapshot.key); // of a crash between these very steps
      await this.makeDirectories(snapshot, root);
    }
    failpoint('snapshot.prepare.after-directories');
    if (isPlain(root)) return;
    await chown(snapshot.upper, root.uid, root.gid);
    await chmod(snapshot.upper, root.mode);
    if (!root.plain) await this.inheritRoot(snapshot, root);
  }

  private makeDirectories(
    { key, chainId, upper, work }: ActiveSnapshot,
    root: RootAttributes,
  ): Promise<void> {
    const data = JSON.stringify({ version: 1, chainId });
    return fileBatch([
      { op: 'mkdir', path: this.directory(key), mode: 0o700, existOk: true },
      { op: 'mkdir', path: upper, mode: root.mode & 0o777 },
      { op: 'mkdir', path: work, mode: 0o700 },
      { op: 'replace', path: path.join(this.directory(key), SNAPSHOT_RECORD), data, mode: 0o600 },
    ]);
  }

  /** The root of an overlay is that of its upper directory, extended attributes included. */
  private async inheritRoot({ chainId, upper }: ActiveSnapshot, rootBelow: RootAttributes): Promise<void> {
    const { unpackerPath, layout } = this.options;
    await fixImplied({
      unpackerPath,
      directory: upper,
      paths: [''],
      rootHasXattrs: false,
      below: this.options.layers().lowerOf(chainId),
      rootBelow,
      scratchDir: layout.ingest,
    });
  }

  async remove(key: string): Promise<void> {
    const snapshot = this.active.get(key);
    await this.removeFiles(key);
    if (snapshot !== undefined) this.forget(snapshot);
    await this.options.layers().reap();
  }

  async sweep(living: ReadonlySet<string>): Promise<void> {
    const found = await readdir(this.options.layout.containers);
    for (const key of new Set([...found, ...this.active.keys()])) {
      if (!living.has(key)) await this.remove(key);
    }
  }

  /** The record goes last: until then the next start knows that there is something to remove. */
  private async removeFiles(key: string): Promise<void> {
    const directory = this.directory(key);
    await Promise.all([
      removeTree(path.join(directory, SNAPSHOT_UPPER)),
      removeTree(path.join(directory, SNAPSHOT_WORK)),
    ]);
    failpoint('snapshot.remove.before-record');
    try {
      await fileBatch([
        { op: 'unlink', path: path.join(directory, SNAPSHOT_RECORD), missingOk: true },
        { op: 'rmdir', path: directory, missingOk: true },
      ]);
    } catch (error) {
      if (!isErrno(error, 'ENOTEMPTY', 'ENOTDIR')) throw error;
    }
  }

  async usage(key: string): Promise<SnapshotUsage | undefined> {
    const snapshot = this.active.get(key);
    if (snapshot === undefined) return undefined;
    return this.usages.usage(key, snapshot.upper);
  }

  private describe(key: string, chainId: string): ActiveSnapshot {
    const directory = this.directory(key);
    return {
      kind: 'overlay',
      key,
      chainId,
      layersDir: this.options.layout.layers,
      lower: this.lowerNames(chainId),
      upper: path.join(directory, SNAPSHOT_UPPER),
      work: path.join(directory, SNAPSHOT_WORK),
    };
  }

  /** An image without layers has no chain; overlayfs wants a directory all the same. */
  private lowerNames(chainId: string): readonly string[] {
    if (chainId === '') return [`${EMPTY_LAYER}/${LAYER_CONTENT}`];
    return this.options
      .layers()
      .lowerOf(chainId)
      .map(({ name }) => name);
  }

  private rootOf(chainId: string): RootAttributes {
    return this.options.layers().table.get(chainId)?.record.root ?? plainRoot;
  }

  private directory(key: string): string {
    return path.join(this.options.layout.containers, key);
  }

  private add(snapshot: ActiveSnapshot): void {
    this.active.set(snapshot.key, snapshot);
    this.users.set(snapshot.chainId, (this.users.get(snapshot.chainId) ?? 0) + 1);
  }

  private forget({ key, chainId }: ActiveSnapshot): void {
    this.active.delete(key);
    this.usages.forget(key);
    const left = (this.users.get(chainId) ?? 1) - 1;
    if (left === 0) this.users.delete(chainId);
    else this.users.set(chainId, left);
  }
}

function isPlain({ mode, uid, gid, plain }: RootAttributes): boolean {
  return mode === 0o755 && uid === 0 && gid === 0 && plain;
}

function parseRecord(text: string): z.infer<typeof recordSchema> | undefined {
  try {
    return recordSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
