import type { Digest } from '../base/digest.js';
import type { Ingest } from '../content/types.js';
import { RuntimeError } from '../errors.js';
import type { Pour } from '../snapshot/types.js';
import type { Receiver } from './receiver.js';
import type { RegistryClient } from './registry/client.js';
import { failureOf, isInterruption } from './registry/failures.js';
import { backoffMs, pause, type RetryOptions } from './registry/retry.js';
import { ConnectionError } from './registry/transport.js';

export interface Download {
  readonly client: RegistryClient;
  readonly ingest: Ingest;
  readonly digest: Digest;
  readonly size: number;
  /** Takes large blobs off the event loop where it can. */
  readonly receiver: Receiver | undefined;
  readonly retry: RetryOptions;
  /** Give up when nothing arrived for so long, however often we try. */
  readonly noProgressTimeoutMs: number;
  readonly onBytes: (bytes: number) => void;
  readonly signal: AbortSignal;
}

/**
 * The bytes of a blob, each hashed and given to the ingest before it is passed on. A connection that breaks is replaced
 * by one that continues at the same place. A large one may be poured: then its bytes never come here. Ends normally only after size and digest matched.
 */
export async function* downloadBlob(download: Download): AsyncIterable<Uint8Array | Pour> {
  const { ingest, size } = download;
  yield* ingest.replay();
  const watch = new ProgressWatch(download);
  while (ingest.offset < size) {
    try {
      yield* receive(download, watch);
    } catch (error) {
      await watch.interrupted(error);
    }
  }
  ingest.verify();
}

async function* receive(download: Download, watch: ProgressWatch): AsyncIterable<Uint8Array | Pour> {
  const { client, ingest, digest, size, onBytes, receiver, signal } = download;
  const progressed = (bytes: number): void => {
    onBytes(bytes);
    watch.progressed();
  };
  const { chunks, giveAway } = await client.blob(digest, ingest.offset);
  const blobFd = ingest.emptyFd;
  if (giveAway !== undefined && blobFd !== undefined && receiver?.suits(digest, size) === true) {
    const reception = receiver.receive({ giveAway, blobFd, size, onBytes: progressed, signal });
    yield reception.pour;
    const received = reception.received();
    if (received !== undefined) {
      await ingest.adopt(received.bytes, received.digest);
      if (received.error !== undefined) throw received.error;
      return;
    }
  }
  for await (const chunk of chunks) {
    await ingest.append(chunk);
    progressed(chunk.length);
    yield chunk;
  }
  if (ingest.offset < size) throw new ConnectionError('the connection ended early', true);
}

/** Decides whether a broken download goes on. */
class ProgressWatch {
  private failures = 0;
  private lastProgressMs = performance.now();

  constructor(private readonly download: Download) {}

  progressed(): void {
    this.failures = 0;
    this.lastProgressMs = performance.now();
  }

  /** Returns after a pause if another try is worth it, else throws. */
  async interrupted(error: unknown): Promise<void> {
    const { signal, retry, digest, noProgressTimeoutMs } = this.download;
    signal.throwIfAborted();
    if (!isInterruption(error)) throw error;
    const silentMs = performance.now() - this.lastProgressMs;
    if (silentMs >= noProgressTimeoutMs)
      throw new RuntimeError('Unavailable', 'download blob', {
        subject: digest,
        cause: `no data for ${Math.round(silentMs / 1000)} s`,
        reason: 'RegistryUnavailable',
      });
    this.failures += 1;
    if (this.failures > retry.attempts) throw failureOf(error, digest);
    const delayMs = backoffMs(this.failures, retry.firstDelayMs);
    retry.onRetry?.(error, delayMs);
    await pause(delayMs, signal);
  }
}
