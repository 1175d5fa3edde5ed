import { getHeapStatistics } from 'node:v8';

// Both do nothing where the process was started without `--expose-gc`.

const LOOK_EVERY_MS = 15_000;
const WORTH_BYTES = 2 * 1024 * 1024;
const YOUNG_EVERY_BYTES = 4 * 1024 * 1024;

/**
 * Collects everything, now and then again if enough was allocated since the last time. V8 lets the garbage of a process
 * that allocates little lie about for minutes: 6 MiB of resident memory for a collection of some 10 ms.
 *
 * @param trim gives the C library's free memory back to the kernel
 */
export function collectGarbage(trim: () => void): void {
  const { gc } = globalThis;
  if (gc === undefined) return;
  let leftBytes = 0;
  const look = (): void => {
    if (getHeapStatistics().used_heap_size < leftBytes + WORTH_BYTES) return;
    gc();
    trim();
    leftBytes = getHeapStatistics().used_heap_size;
  };
  look();
  setInterval(look, LOOK_EVERY_MS).unref();
}

let receivedBytes = 0;

/**
 * To be told of buffers that were received and will be dropped soon. V8 counts their memory but sees no reason to look
 * for the dead ones while little else is allocated, until the sum makes it collect everything: on a pull that was a
 * third of the daemon's time. Collecting the young ones now and then costs next to nothing.
 */
export function countYoungBytes(bytes: number): void {
  receivedBytes += bytes;
  if (receivedBytes < YOUNG_EVERY_BYTES) return;
  receivedBytes = 0;
  globalThis.gc?.({ type: 'minor' });
}
