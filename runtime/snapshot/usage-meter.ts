import { diskUsage } from '../../native/index.js';
import type { SnapshotUsage } from './types.js';

interface Measurement {
  readonly startedNs: bigint;
  readonly usage: Promise<SnapshotUsage>;
  /** The newest result there is: that of the measurement before until this one is done. */
  known: SnapshotUsage | undefined;
  done: boolean;
}

export interface UsageLifetimes {
  /** A result this old is replaced, behind the back of whoever asks. */
  readonly freshNs: bigint;
  /** A result this old is not given any more. */
  readonly knownNs: bigint;
}

const usualLifetimes: UsageLifetimes = { freshNs: 10_000_000_000n, knownNs: 60_000_000_000n };

/**
 * How much disk the writable layers use. That takes a walk through each of them, so nobody who asks again and again, as
 * the kubelet does for all containers every ten seconds, waits for it: he gets the last result, with its time, while the
 * next one is made. Nothing is measured that nobody asks for.
 */
export class UsageMeter {
  private readonly measurements = new Map<string, Measurement>();

  constructor(
    private readonly measure: (directory: string) => Promise<SnapshotUsage> = measureTree,
    private readonly lifetimes: UsageLifetimes = usualLifetimes,
  ) {}

  async usage(key: string, directory: string): Promise<SnapshotUsage> {
    const last = this.measurements.get(key);
    const ageNs = last === undefined ? 0n : process.hrtime.bigint() - last.startedNs;
    // A walk that takes long is not joined by a second one.
    const wanted = last === undefined || (last.done && ageNs >= this.lifetimes.freshNs);
    const known = ageNs < this.lifetimes.knownNs ? last?.known : undefined;
    if (!wanted) return known ?? last.usage;
    const next = this.begin(key, directory, last?.known);
    return known ?? next.usage;
  }

  forget(key: string): void {
    this.measurements.delete(key);
  }

  private begin(key: string, directory: string, known: SnapshotUsage | undefined): Measurement {
    const usage = this.measure(directory);
    const measurement: Measurement = { startedNs: process.hrtime.bigint(), usage, known, done: false };
    this.measurements.set(key, measurement);
    usage.then(
      (result) => {
        measurement.known = result;
        measurement.done = true;
      },
      // The next one who asks hears of it, if it happens again.
      () => {
        if (this.measurements.get(key) === measurement) this.measurements.delete(key);
      },
    );
    return measurement;
  }
}

async function measureTree(directory: string): Promise<SnapshotUsage> {
  const { bytes, inodes } = await diskUsage(directory);
  return { path: directory, bytes, inodes, atNs: BigInt(Date.now()) * 1_000_000n };
}
