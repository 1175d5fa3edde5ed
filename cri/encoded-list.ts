/** Tag of field 1, length-delimited: what every list answer of the CRI consists of. */
const itemTag = 0x0a;

/**
 * Writes list answers (`repeated Item items = 1`) from values that are replaced, never changed: each value is encoded
 * once in its life, whoever asks, so that a list costs one copy.
 */
export function listEncoder<Value extends object>(
  encodeItem: (value: Value) => Uint8Array,
): (values: readonly Value[]) => Buffer {
  const known = new WeakMap<Value, Buffer>();
  const entryOf = (value: Value): Buffer => {
    const cached = known.get(value);
    if (cached !== undefined) return cached;
    const entry = delimited(encodeItem(value));
    known.set(value, entry);
    return entry;
  };
  return (values) => Buffer.concat(values.map(entryOf));
}

function delimited(item: Uint8Array): Buffer {
  const head = [itemTag];
  let length = item.length;
  for (; length > 0x7f; length = Math.floor(length / 128)) head.push((length % 128) | 0x80);
  head.push(length);
  return Buffer.concat([Buffer.from(head), item]);
}
