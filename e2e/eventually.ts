import { setTimeout as delay } from 'node:timers/promises';
import { slowness } from './slowness.js';

/**
 * Looks until what is seen is right, or the time has passed: for what the kernel or the daemon does a moment after it has
 * answered, and tells nobody. Returns what was seen last.
 */
export async function eventually<T>(
  look: () => Promise<T>,
  isRight: (seen: T) => boolean,
  timeoutMs = 5000 * slowness,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const seen = await look();
    if (isRight(seen) || Date.now() > deadline) return seen;
    await delay(20);
  }
}
