import { createHash, randomBytes } from 'node:crypto';

const ID_BYTES = 32;
const IDS_AT_ONCE = 32;

let unused = Buffer.alloc(0);

/** A new object id: 64 hexadecimal digits, as every CRI client expects them. A call for randomness brings several. */
export function newId(): string {
  if (unused.length === 0) unused = randomBytes(ID_BYTES * IDS_AT_ONCE);
  const id = unused.toString('hex', 0, ID_BYTES);
  unused = unused.subarray(ID_BYTES);
  return id;
}

/** The 8 digits that tell this instance's kernel objects (bridges, netns, nft tables) from those of another root. */
export function instanceOf(root: string): string {
  return createHash('sha256').update(root).digest('hex').slice(0, 8);
}
