/** A list of subscribers. A subscriber that throws is the caller's bug and reaches the process; the rest still hear it first. */
export class Listeners<T> {
  private readonly listeners = new Set<(event: T) => void>();

  /** Returns the way to unsubscribe. */
  subscribe(listener: (event: T) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  emit(event: T): void {
    for (const listener of this.listeners) listener(event);
  }
}
