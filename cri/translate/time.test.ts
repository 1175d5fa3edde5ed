import { expect } from 'chai';
import { toMilliseconds } from './time.js';

describe('time-outs', () => {
  for (const [seconds, ms] of [
    [-5n, 0],
    [0n, 0],
    [2n, 2000],
    [2n ** 63n - 1n, 3_155_760_000_000],
  ] as [bigint, number][]) {
    it(`${seconds} s`, () => {
      expect(toMilliseconds(seconds)).to.equal(ms);
    });
  }
});
