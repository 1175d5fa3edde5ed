import { setTimeout as delay } from 'node:timers/promises';

/**
 * Looks until what is seen is right, or five seconds have passed: for what the kernel or the daemon does a moment after
 * it has answered, and tells nobody. Returns what was seen last.
 */
export async function eventually<T>(look: () => Promise<T>, isRight: (seen: T) => boolean): Promise<T> {
  const deadline = Date.now() + 5000;
  for (;;) {
    const seen = await look();
    if (isRight(seen) || Date.now() > deadline) return seen;
    await delay(20);
  }
}
