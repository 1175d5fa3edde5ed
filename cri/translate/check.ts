import path from 'node:path';
import { RuntimeError } from '../../runtime/errors.js';

/** Refuses a field of a request: `mounts[1].container_path: must be an absolute path`. */
export function refuse(field: string, why: string): RuntimeError {
  return new RuntimeError('InvalidArgument', field, { cause: why });
}

/** Refuses what this version does not do, by name. */
export function unsupported(field: string, what: string): RuntimeError {
  return new RuntimeError('Unimplemented', field, { cause: `${what} not supported yet` });
}

export interface TextRules {
  /** In bytes; default 4096. */
  readonly maxBytes?: number;
  /** Default: not allowed. */
  readonly mayBeEmpty?: boolean;
  /** Whether line breaks and other control characters may occur; a NUL byte never may. Default: no. */
  readonly mayHaveControls?: boolean;
}

/** Checks a text of a request and returns it. */
export function checkText(field: string, text: string, rules: TextRules = {}): string {
  const { maxBytes = 4096, mayBeEmpty = false, mayHaveControls = false } = rules;
  if (text === '' && !mayBeEmpty) throw refuse(field, 'must not be empty');
  if (text.length > maxBytes || Buffer.byteLength(text) > maxBytes) {
    throw refuse(field, `must be at most ${maxBytes} bytes`);
  }
  if (text.includes('\0')) throw refuse(field, 'must not contain a NUL byte');
  // eslint-disable-next-line no-control-regex -- that is what is looked for
  if (!mayHaveControls && /[\x01-\x1f\x7f]/.test(text))
    throw refuse(field, 'must not contain control characters');
  return text;
}

/** Checks an absolute path and returns it normalised; `..` is refused, not resolved. */
export function checkAbsolutePath(field: string, text: string): string {
  checkText(field, text);
  if (!path.posix.isAbsolute(text)) throw refuse(field, `must be an absolute path, not ${quote(text)}`);
  if (text.split('/').includes('..')) throw refuse(field, `must not contain "..": ${quote(text)}`);
  const normal = path.posix.normalize(text);
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
}

/** A 64-bit number of the wire as a number, within bounds. */
export function checkInteger(field: string, value: bigint, min: number, max: number): number {
  if (value < BigInt(min) || value > BigInt(max)) {
    throw refuse(field, `must be between ${min} and ${max}, not ${value}`);
  }
  return Number(value);
}

export function checkCount(field: string, items: readonly unknown[], max: number): void {
  if (items.length > max) throw refuse(field, `must have at most ${max} entries, not ${items.length}`);
}

/** A value of a request in a message: quoted, on one line, short. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}

/** Refuses the value of an enum that the wire may carry but the interface does not know. */
export function unknownEnum(field: string, value: number): RuntimeError {
  return refuse(field, `unknown value ${value}`);
}
