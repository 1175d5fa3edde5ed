interface Reading {
  readonly atNs: bigint;
  readonly usageNs: bigint;
}

/** A rate over less than this says nothing: the counter's own grain shows. */
const minIntervalNs = 100_000_000n;

/**
 * How many nanoseconds of CPU per second an object uses: between a reading and the one before it. Nothing is sampled
 * unasked, so that the interval is that of the client, and its first question has no answer.
 */
export class CpuRates {
  private readonly byId = new Map<string, { readonly last: Reading; readonly rate: bigint | undefined }>();

  /** Takes a reading and returns the rate it ends; readings close together share one. */
  read(id: string, reading: Reading): bigint | undefined {
    const known = this.byId.get(id);
    if (known === undefined) {
      this.byId.set(id, { last: reading, rate: undefined });
      return undefined;
    }
    const intervalNs = reading.atNs - known.last.atNs;
    if (intervalNs < minIntervalNs) return known.rate;
    const usedNs = reading.usageNs - known.last.usageNs;
    const rate = usedNs < 0n ? undefined : (usedNs * 1_000_000_000n) / intervalNs;
    this.byId.set(id, { last: reading, rate });
    return rate;
  }

  forget(id: string): void {
    this.byId.delete(id);
  }
}
