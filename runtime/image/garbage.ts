import type { Logger } from '../base/logger.js';
import type { ContentStore } from '../content/types.js';
import { messageOf } from '../errors.js';
import type { LayerStore } from '../snapshot/types.js';

/** An interrupted download is kept for the next try of its pull, but not for ever. */
const partialLifetimeMs = 60 * 60 * 1000;

export interface GarbageOptions {
  readonly content: ContentStore;
  readonly layers: LayerStore;
  /** Digests and chain ids that images need, hidden ones included. */
  readonly inUse: () => ReadonlySet<string>;
  readonly logger: Logger;
}

/**
 * Removes the blobs and layers that neither an image nor a running pull needs.
 *
 * A pull takes a lease on everything it will need before it asks whether it is there. A removal that has begun is waited
 * for by the lease: afterwards the object is gone, or it is safe.
 */
export class Garbage {
  private readonly leases = new Set<ReadonlySet<string>>();
  private readonly removals = new Map<string, Promise<void>>();
  private collecting: Promise<void> | undefined;
  private again = false;
  private armed = false;

  constructor(private readonly options: GarbageOptions) {}

  /** Takes a lease; resolves when nothing in it is being removed any more. The result gives it back. */
  async lease(ids: Iterable<string>): Promise<() => void> {
    const lease = new Set(ids);
    this.leases.add(lease);
    await Promise.all([...lease].flatMap((id) => this.removals.get(id) ?? []));
    return () => this.leases.delete(lease);
  }

  /** From now on collect() works: every pin that recovery had to make is made. */
  arm(): void {
    this.armed = true;
  }

  /** Removes what nothing refers to. A call during a collection makes it go round once more. */
  async collect(): Promise<void> {
    if (!this.armed) return;
    this.again = true;
    this.collecting ??= this.collectAll().finally(() => (this.collecting = undefined));
    await this.collecting;
  }

  private async collectAll(): Promise<void> {
    while (this.again) {
      this.again = false;
      const { content, layers } = this.options;
      const used = this.used();
      const unused = (id: string): boolean => !used.has(id);
      const gone = [
        ...layers
          .list()
          .filter(unused)
          .map((id) => this.remove(id, () => layers.remove(id))),
        ...content
          .list()
          .filter(unused)
          .map((id) => this.remove(id, () => content.remove(id))),
      ];
      await Promise.all(gone);
      await content.removePartials(partialLifetimeMs, this.leased());
    }
  }

  private used(): ReadonlySet<string> {
    return new Set([...this.options.inUse(), ...this.leased()]);
  }

  private leased(): ReadonlySet<string> {
    return new Set([...this.leases].flatMap((lease) => [...lease]));
  }

  /** Begins at once; a failure is logged and found again by the next collection. */
  private remove(id: string, work: () => Promise<void>): Promise<void> {
    const removal = work()
      .catch((error: unknown) =>
        this.options.logger.warn('blob or layer not removed', { id, error: messageOf(error) }),
      )
      .finally(() => this.removals.delete(id));
    this.removals.set(id, removal);
    return removal;
  }
}
