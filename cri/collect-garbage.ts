import { getHeapStatistics } from 'node:v8';

const INTERVAL_MS = 15_000;
const WORTH_BYTES = 2 * 1024 * 1024;

/**
 * Collects everything now and then if enough was allocated since the last time. V8 lets the garbage of a process that
 * allocates little lie about for minutes: 6 MiB of resident memory for a collection of some 10 ms. Does nothing where
 * the process was started without `--expose-gc`.
 */
export function collectGarbage(): void {
  const { gc } = globalThis;
  if (gc === undefined) return;
  let leftBytes = 0;
  const look = (): void => {
    if (getHeapStatistics().used_heap_size < leftBytes + WORTH_BYTES) return;
    gc();
    leftBytes = getHeapStatistics().used_heap_size;
  };
  setInterval(look, INTERVAL_MS).unref();
}
