/** `info` of a verbose answer: one JSON document named "info", which is where clients look. */
export function toInfo(document: Readonly<Record<string, unknown>>): Record<string, string> {
  const text = JSON.stringify(document, (_key, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  );
  return { info: text };
}
