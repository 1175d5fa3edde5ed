import type { LayerStore, PreparedLayer } from '../snapshot/types.js';

interface Item {
  readonly index: number;
  /** Undefined is a layer that is in the store already. */
  readonly layer: PreparedLayer | undefined;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Commits the layers of one image parents first, whatever the order in which they become ready. What is ready while a
 * commit runs goes into the next one.
 */
export class CommitQueue {
  private next = 0;
  private readonly ready = new Map<number, Item>();
  private readonly refused: PreparedLayer[] = [];
  private running: Promise<void> | undefined;
  private failure: { readonly error: unknown } | undefined;

  constructor(private readonly store: LayerStore) {}

  /** Resolves when the layer at this place in the stack is visible. */
  add(index: number, layer: PreparedLayer | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const item: Item = { index, layer, resolve, reject };
      if (this.failure !== undefined) return this.refuse(item, this.failure.error);
      this.ready.set(index, item);
      this.running ??= this.run();
    });
  }

  /** Stops: no further commit begins, and nobody waits for one any longer. One that is running is finished. */
  fail(error: unknown): void {
    this.failure ??= { error };
    for (const item of this.ready.values()) this.refuse(item, error);
    this.ready.clear();
  }

  /** After {@link fail}: removes the layers that were not committed. */
  async discard(): Promise<void> {
    await this.running;
    await Promise.all(this.refused.splice(0).map((layer) => layer.discard()));
  }

  private refuse({ layer, reject }: Item, error: unknown): void {
    if (layer !== undefined) this.refused.push(layer);
    reject(error);
  }

  private async run(): Promise<void> {
    // A moment for layers that become ready in the same turn.
    await Promise.resolve();
    for (let batch = this.takeBatch(); batch.length > 0; batch = this.takeBatch()) await this.commit(batch);
    this.running = undefined;
  }

  private async commit(batch: readonly Item[]): Promise<void> {
    const layers = batch.map(({ layer }) => layer).filter((layer) => layer !== undefined);
    try {
      if (layers.length > 0) await this.store.commit(layers);
      for (const { resolve } of batch) resolve();
    } catch (error) {
      for (const item of batch) this.refuse(item, error);
      this.fail(error);
    }
  }

  private takeBatch(): readonly Item[] {
    const batch: Item[] = [];
    for (let item = this.ready.get(this.next); item !== undefined; item = this.ready.get(this.next)) {
      batch.push(item);
      this.ready.delete(this.next);
      this.next += 1;
    }
    return batch;
  }
}
