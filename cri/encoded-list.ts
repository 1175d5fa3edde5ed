import { setImmediate as nextTurn } from 'node:timers/promises';

/** Tag of field 1, length-delimited: what every list answer of the CRI consists of. */
const itemTag = 0x0a;

/**
 * A streamed list comes in messages of about this size: far below what clients accept (4 MiB by default), and little
 * enough to hold for one that reads slowly.
 */
const chunkBytes = 64 * 1024;

/** Writes list answers (`repeated Item items = 1`, one message or the messages of a stream). */
export interface ListEncoder<Value> {
  readonly whole: (values: readonly Value[]) => Buffer;
  /** The event loop turns between two messages. An empty list has none. */
  readonly chunks: (values: readonly Value[], signal: AbortSignal) => AsyncGenerator<Buffer>;
}

/**
 * An encoder of values that are replaced, never changed: each value is encoded once in its life, whoever asks, and the
 * whole list is put together again only when something in it has changed.
 */
export function listEncoder<Value extends object>(
  encodeItem: (value: Value) => Uint8Array,
): ListEncoder<Value> {
  const known = new WeakMap<Value, Buffer>();
  const entryOf = (value: Value): Buffer => {
    const cached = known.get(value);
    if (cached !== undefined) return cached;
    const entry = delimited(encodeItem(value));
    known.set(value, entry);
    return entry;
  };
  let last: { readonly values: readonly Value[]; readonly bytes: Buffer } | undefined;
  const whole = (values: readonly Value[]): Buffer => {
    if (last === undefined || !isSame(last.values, values)) {
      last = { values: [...values], bytes: Buffer.concat(values.map(entryOf)) };
    }
    return last.bytes;
  };
  return {
    whole,
    chunks: (values, signal) => inChunks(values, entryOf, signal),
  };
}

/** A stream of what is read of each source, `size` of them at a time, as the client takes it. */
export async function* inBatches<Source, Value extends object>(
  sources: readonly Source[],
  { size, read, list, signal }: BatchRules<Source, Value>,
): AsyncGenerator<Buffer> {
  for (let begin = 0; begin < sources.length; begin += size) {
    yield* list.chunks(await read(sources.slice(begin, begin + size)), signal);
    signal.throwIfAborted();
  }
}

export interface BatchRules<Source, Value> {
  readonly size: number;
  readonly read: (sources: readonly Source[]) => Promise<readonly Value[]>;
  readonly list: ListEncoder<Value>;
  readonly signal: AbortSignal;
}

function isSame<Value>(old: readonly Value[], values: readonly Value[]): boolean {
  return old.length === values.length && old.every((value, index) => value === values[index]);
}

async function* inChunks<Value>(
  values: readonly Value[],
  entryOf: (value: Value) => Buffer,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  let chunk: Buffer[] = [];
  let bytes = 0;
  for (const value of values) {
    const entry = entryOf(value);
    if (bytes > 0 && bytes + entry.length > chunkBytes) {
      yield Buffer.concat(chunk);
      await nextTurn();
      signal.throwIfAborted();
      chunk = [];
      bytes = 0;
    }
    chunk.push(entry);
    bytes += entry.length;
  }
  if (bytes > 0) yield Buffer.concat(chunk);
}

function delimited(item: Uint8Array): Buffer {
  const head = [itemTag];
  let length = item.length;
  for (; length > 0x7f; length = Math.floor(length / 128)) head.push((length % 128) | 0x80);
  head.push(length);
  return Buffer.concat([Buffer.from(head), item]);
}
