import { constants } from 'node:os';

/** Second names of a number, which the kernel does not use. */
const aliases: ReadonlySet<string> = new Set(['EWOULDBLOCK', 'ENOTSUP']);

const names: ReadonlyMap<number, string> = new Map([
  ...Object.entries(constants.errno)
    .filter(([name]) => !aliases.has(name))
    .map(([name, number]) => [number, name] as const),
  // Those that Node's table lacks, at the numbers of every Linux architecture we run on.
  [15, 'ENOTBLK'],
  [26, 'ETXTBSY'],
  [40, 'ELOOP'],
  [87, 'EUSERS'],
  [126, 'ENOKEY'],
]);

/** "ENOENT" of 2; "E4000" of a number without a name. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `E${errno}`;
}
