import { setTimeout as sleep } from 'node:timers/promises';

export interface RetryOptions {
  /** Tries in all. */
  readonly attempts: number;
  /** Before the second try; doubled for each further one, at most {@link longestDelayMs}, with up to a quarter of jitter. */
  readonly firstDelayMs: number;
  readonly onRetry?: (error: unknown, delayMs: number) => void;
}

export interface RetryPolicy extends RetryOptions {
  readonly signal: AbortSignal;
  readonly isTransient: (error: unknown) => boolean;
  /** A delay that the failure itself asks for. */
  readonly delayOf: (error: unknown) => number | undefined;
}

const longestDelayMs = 15_000;
/** A server that wants us to wait longer gets an error instead: the kubelet comes back by itself. */
const longestPatienceMs = 60_000;

export async function retry<T>(work: () => Promise<T>, policy: RetryPolicy): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      policy.signal.throwIfAborted();
      const delayMs = policy.delayOf(error) ?? backoffMs(attempt, policy.firstDelayMs);
      if (attempt >= policy.attempts || !policy.isTransient(error) || delayMs > longestPatienceMs)
        throw error;
      policy.onRetry?.(error, delayMs);
      await pause(delayMs, policy.signal);
    }
  }
}

export function backoffMs(attempt: number, firstDelayMs: number): number {
  const delay = Math.min(firstDelayMs * 2 ** (attempt - 1), longestDelayMs);
  return delay * (1 + Math.random() / 4);
}

/** Rejects with the signal's reason. */
export async function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(delayMs, undefined, { signal });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}
