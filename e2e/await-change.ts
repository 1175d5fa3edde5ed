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
  const end = new AbortController();
  const changes = watch(directory, { signal: AbortSignal.any([signal, end.signal]) })[Symbol.asyncIterator]();
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
    end.abort();
  }
}
