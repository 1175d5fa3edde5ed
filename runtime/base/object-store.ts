/**
 * The objects of one kind that live in this daemon: by id, by an unambiguous prefix of it, and by reserved name.
 * Kept in the order they were made.
 */
export class ObjectStore<T> {
  private readonly byId = new Map<string, T>();
  private readonly idByName = new Map<string, string>();

  /** Takes a name for an id; the id of whoever holds it already otherwise. */
  reserve(name: string, id: string): string | undefined {
    const holder = this.idByName.get(name);
    if (holder !== undefined) return holder;
    this.idByName.set(name, id);
    return undefined;
  }

  releaseName(name: string, id: string): void {
    if (this.idByName.get(name) === id) this.idByName.delete(name);
  }

  set(id: string, value: T): void {
    this.byId.set(id, value);
  }

  get(id: string): T | undefined {
    return this.byId.get(id);
  }

  delete(id: string): void {
    this.byId.delete(id);
  }

  /** Full id, or a prefix that fits exactly one. */
  find(idOrPrefix: string): T | undefined {
    const exact = this.byId.get(idOrPrefix);
    if (exact !== undefined || idOrPrefix === '' || idOrPrefix.length >= 64) return exact;
    let found: T | undefined;
    for (const [id, value] of this.byId) {
      if (!id.startsWith(idOrPrefix)) continue;
      if (found !== undefined) return undefined;
      found = value;
    }
    return found;
  }

  values(): IterableIterator<T> {
    return this.byId.values();
  }
}
