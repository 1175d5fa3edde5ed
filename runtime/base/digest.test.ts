import { expect } from 'chai';
import fc from 'fast-check';
import { algorithmOf, digestOf, hexOf, parseDigest } from './digest.js';

describe('digest', () => {
  it('reads what it writes', () => {
    for (const algorithm of ['sha256', 'sha512'] as const) {
      const digest = digestOf('x', algorithm);
      expect(parseDigest(digest)).to.equal(digest);
      expect(algorithmOf(digest)).to.equal(algorithm);
      expect(hexOf(digest)).to.have.length(algorithm === 'sha256' ? 64 : 128);
    }
  });

  it('refuses everything else', () => {
    const hex = 'a'.repeat(64);
    for (const text of [
      '',
      hex,
      `sha256:${hex.toUpperCase()}`,
      `sha256:${hex}0`,
      `sha256:${hex}:x`,
      `md5:${'a'.repeat(32)}`,
    ])
      expect(parseDigest(text), text).to.equal(undefined);
    for (const text of [
      `sha256:../${'a'.repeat(61)}`,
      `toString:${hex}`,
      `sha256:${hex}\n`,
      ` sha256:${hex}`,
    ])
      expect(parseDigest(text), text).to.equal(undefined);
    fc.assert(fc.property(fc.string(), (text) => parseDigest(text) === undefined));
  });
});
