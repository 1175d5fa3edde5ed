import type { Psi, PsiValues } from './types.js';

/** A file that holds one number; "max" and what is no number give undefined. */
export function parseNumber(text: string | undefined): bigint | undefined {
  const trimmed = text?.trim();
  return trimmed !== undefined && /^\d+$/.test(trimmed) ? BigInt(trimmed) : undefined;
}

/** Lines of "key value". */
export function parseFlat(text: string | undefined): (key: string) => bigint | undefined {
  if (text === undefined) return () => undefined;
  // memory.stat has 40 to 70 lines of which a handful is wanted: looked up in place, not split.
  return (key) => {
    const needle = `${key} `;
    let at = text.startsWith(needle) ? 0 : text.indexOf(`\n${needle}`);
    if (at < 0) return undefined;
    at += (at === 0 && text.startsWith(needle) ? 0 : 1) + needle.length;
    const end = text.indexOf('\n', at);
    return parseNumber(end < 0 ? text.slice(at) : text.slice(at, end));
  };
}

const someLine = /^some avg10=([\d.]+) avg60=([\d.]+) avg300=([\d.]+) total=(\d+)/m;
const fullLine = /^full avg10=([\d.]+) avg60=([\d.]+) avg300=([\d.]+) total=(\d+)/m;
const noPressure: PsiValues = { avg10: 0, avg60: 0, avg300: 0, totalUs: 0n };

/** kernel: Documentation/accounting/psi.rst */
export function parsePsi(text: string | undefined): Psi | undefined {
  if (text === undefined) return undefined;
  const some = parsePsiLine(text, someLine);
  return some && { some, full: parsePsiLine(text, fullLine) ?? noPressure };
}

function parsePsiLine(text: string, line: RegExp): PsiValues | undefined {
  const match = line.exec(text);
  return match?.[4] === undefined
    ? undefined
    : {
        avg10: Number(match[1]),
        avg60: Number(match[2]),
        avg300: Number(match[3]),
        totalUs: BigInt(match[4]),
      };
}
