import path from 'node:path';
import { fileBatch } from '../../native/index.js';
import type { Logger } from '../base/logger.js';
import { messageOf } from '../errors.js';
import type { Layer, LayerRecord } from './layer-table.js';
import { LAYER_RECORD } from './layout.js';

/** The layers of an image come together meanwhile, and the pod that waited for it starts on a quiet disk. */
const DELAY_MS = 2000;

export interface LayerSyncOptions {
  readonly layersPath: string;
  readonly logger: Logger;
  /** Makes everything written so far durable. */
  readonly sync: () => Promise<void>;
  /** False once the layer was removed. */
  readonly isPresent: (layer: Layer) => boolean;
}

/**
 * Makes committed layers durable, a moment after the pull that brought them. Until then the record names the boot in
 * which the layer was written: while that lasts the layer is whole, whatever becomes of the daemon; after it nobody
 * knows, and recovery drops it. A layer whose sync failed keeps the name for good: asked again, the kernel would say
 * that all is well.
 */
export class LayerSync {
  private waiting: Layer[] = [];
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> = Promise.resolve();

  constructor(private readonly options: LayerSyncOptions) {}

  /** Takes layers under their final names; those that need nothing are passed over. */
  add(layers: readonly Layer[]): void {
    this.waiting.push(...layers.filter(({ record }) => record.boot !== undefined && !record.syncFailed));
    if (this.waiting.length > 0) this.timer ??= setTimeout(() => void this.flush(), DELAY_MS).unref();
  }

  /** All that was added, now. Never rejects. */
  flush(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    const layers = this.waiting.splice(0);
    this.running = this.running.then(() => this.makeDurable(layers));
    return this.running;
  }

  private async makeDurable(layers: readonly Layer[]): Promise<void> {
    const { isPresent, sync, logger } = this.options;
    const present = layers.filter(isPresent);
    if (present.length === 0) return;
    try {
      await sync();
      for (const { name, record } of present) await this.replace(name, { ...record, boot: undefined });
    } catch (error) {
      const names = present.map(({ name }) => name);
      logger.error('layers not synced, the next boot drops them', { layers: names, error: messageOf(error) });
      for (const { name, record } of present) await this.replace(name, { ...record, syncFailed: true });
    }
  }

  /** Torn by a power loss it is no record, and the layer is dropped, as it is if nothing was written. */
  private async replace(name: string, record: LayerRecord): Promise<void> {
    const { layersPath, logger } = this.options;
    const file = path.join(layersPath, name, LAYER_RECORD);
    try {
      await fileBatch([{ op: 'replace', path: file, data: JSON.stringify(record), mode: 0o600 }]);
    } catch (error) {
      // Removed meanwhile, or the disk is full: the layer stays as it was recorded.
      logger.debug('layer not marked as synced', { layer: name, error: messageOf(error) });
    }
  }
}
