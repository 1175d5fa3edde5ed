import type { Logger } from '../base/logger.js';
import type { PullCounters, PullProgress } from './types.js';

const reportEveryMs = 10_000;
const notifyEveryMs = 500;

export type ProgressListener = (progress: PullProgress) => void;

/** Counts over all pulls since the start. */
export class PullTotals {
  private readonly counters = { pulls: 0, failures: 0, active: 0, downloadedBytes: 0, retries: 0 };

  add(changes: Partial<PullCounters>): void {
    const { counters } = this;
    counters.pulls += changes.pulls ?? 0;
    counters.failures += changes.failures ?? 0;
    counters.active += changes.active ?? 0;
    counters.downloadedBytes += changes.downloadedBytes ?? 0;
    counters.retries += changes.retries ?? 0;
  }

  read(): PullCounters {
    return { ...this.counters };
  }
}

/** Follows one pull: a log line every ten seconds, the listener at most twice a second, the totals at once. */
export class PullTracker {
  readonly reference: string;
  private layers = 0;
  private layersDone = 0;
  private bytes = 0;
  private bytesDone = 0;
  private readonly startedMs = performance.now();
  private reportedMs = this.startedMs;
  private notifiedMs = 0;

  constructor(
    reference: string,
    private readonly options: { totals: PullTotals; logger: Logger; listener: ProgressListener | undefined },
  ) {
    this.reference = reference;
  }

  started(layers: number, bytes: number): void {
    this.layers = layers;
    this.bytes = bytes;
    this.options.logger.info('image pull started', { reference: this.reference, layers, bytes });
    this.notify(true);
  }

  received(bytes: number): void {
    this.bytesDone += bytes;
    this.options.totals.add({ downloadedBytes: bytes });
    this.notify(false);
  }

  layerDone(): void {
    this.layersDone += 1;
    this.notify(true);
  }

  retried(): void {
    this.options.totals.add({ retries: 1 });
  }

  /** Milliseconds since the pull began. */
  elapsedMs(): number {
    return Math.round(performance.now() - this.startedMs);
  }

  progress(): PullProgress {
    const { reference, layers, layersDone, bytes, bytesDone } = this;
    return { reference, layers, layersDone: Math.min(layersDone, layers), bytes, bytesDone };
  }

  private notify(important: boolean): void {
    const now = performance.now();
    if (now - this.reportedMs >= reportEveryMs) {
      this.reportedMs = now;
      this.options.logger.info('image pull progress', { ...this.progress() });
    }
    if (!important && now - this.notifiedMs < notifyEveryMs) return;
    this.notifiedMs = now;
    this.options.listener?.(this.progress());
  }
}
