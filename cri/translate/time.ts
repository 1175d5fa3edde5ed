/** No wait of the CRI is longer: a century. */
const maxSeconds = 3_155_760_000n;

/** Seconds of a request in milliseconds; below zero counts as zero. */
export function toMilliseconds(seconds: bigint): number {
  if (seconds <= 0n) return 0;
  return Number(seconds < maxSeconds ? seconds : maxSeconds) * 1000;
}
