/** One challenge of a WWW-Authenticate header (RFC 9110 §11.6.1). */
export interface Challenge {
  /** Lower case: `basic`, `bearer`. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
}

const longestHeader = 16 * 1024;

/** Reads all challenges. What is malformed ends the list: a registry that cannot say what it wants gets nothing. */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  const rest = header.slice(0, longestHeader);
  // Either `name=value` or `name="value"`, or a scheme standing alone.
  const part = /[\s,]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?/y;
  for (let match = part.exec(rest); match !== null; match = part.exec(rest)) {
    const [, name = '', quotedValue, plainValue] = match;
    const value = quotedValue?.replace(/\\(.)/g, '$1') ?? plainValue;
    if (value === undefined) challenges.push({ scheme: name.toLowerCase(), parameters: new Map() });
    else challenges.at(-1)?.parameters.set(name.toLowerCase(), value);
  }
  return challenges;
}
