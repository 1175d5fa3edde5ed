import { createHash, type Hash } from 'node:crypto';

/** `ALGORITHM:HEX`, as in the OCI image-spec (descriptor.md#digests). Only {@link parseDigest} makes one from outside text. */
export type Digest = string & { readonly brand: 'Digest' };

export type DigestAlgorithm = 'sha256' | 'sha512';

/** The algorithms that we can check, with the number of hexadecimal digits of each. */
const digits: Readonly<Record<DigestAlgorithm, number>> = { sha256: 64, sha512: 128 };

/** A digest of an algorithm that we can check, or undefined. Safe to use as a path component afterwards. */
export function parseDigest(text: string): Digest | undefined {
  const [algorithm = '', hex = '', ...rest] = text.split(':');
  if (rest.length > 0 || !isAlgorithm(algorithm)) return undefined;
  return hex.length === digits[algorithm] && /^[0-9a-f]+$/.test(hex) ? (text as Digest) : undefined;
}

function isAlgorithm(text: string): text is DigestAlgorithm {
  return text in digits && Object.hasOwn(digits, text);
}

export function algorithmOf(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256';
}

export function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1);
}

export function digestOf(content: Uint8Array | string, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return finishDigest(createHash(algorithm).update(content), algorithm);
}

/** A running hash, to be finished by {@link finishDigest}. */
export function startDigest(algorithm: DigestAlgorithm): Hash {
  return createHash(algorithm);
}

export function finishDigest(hash: Hash, algorithm: DigestAlgorithm): Digest {
  return `${algorithm}:${hash.digest('hex')}` as Digest;
}
