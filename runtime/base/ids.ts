import { createHash, randomBytes } from 'node:crypto';

/** A new object id: 64 hexadecimal digits, as every CRI client expects them. */
export function newId(): string {
  return randomBytes(32).toString('hex');
}

/** The 8 digits that tell this instance's kernel objects (bridges, netns, nft tables) from those of another root. */
export function instanceOf(root: string): string {
  return createHash('sha256').update(root).digest('hex').slice(0, 8);
}
