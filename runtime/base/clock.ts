let last = 0n;

/**
 * Nanoseconds since the epoch, the unit of every time stamp in records and the CRI. The clock behind it counts
 * milliseconds; two calls never give the same value, so that objects made in one millisecond keep their order.
 */
export function nowNs(): bigint {
  const now = BigInt(Date.now()) * 1_000_000n;
  last = now > last ? now : last + 1n;
  return last;
}
