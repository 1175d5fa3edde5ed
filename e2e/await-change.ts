import { watch } from 'node:fs/promises';

/**
 * Resolves with what `look` finds as soon as it finds something; looks once, and then whenever something in the
 * directory changes.
 *
 * @throws the signal's reason once it is aborted
 */
export async function awaitChange<T>(
  directory: string,
  look: () => Promise<T | undefined>,
  signal: AbortSignal,
): Promise<T> {
  signal.throwIfAborted();
  const end = new AbortController();
  // Not AbortSignal.any: it does not keep a signal with a time-out from being collected as garbage.
  const abort = (): void => end.abort(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  const changes = watch(directory, { signal: end.signal })[Symbol.asyncIterator]();
  try {
    for (;;) {
      // The watch begins with this call; only then may we look, or a change in between would be missed.
      const change = changes.next();
      change.catch(() => undefined);
      const found = await look();
      if (found !== undefined) return found;
      await change;
    }
  } finally {
    signal.removeEventListener('abort', abort);
    end.abort();
  }
}
