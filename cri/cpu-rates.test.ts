import { expect } from 'chai';
import { CpuRates } from './cpu-rates.js';

describe('cpu rates', () => {
  it('are those between two questions', () => {
    const rates = new CpuRates();
    const second = 1_000_000_000n;
    expect(rates.read('a', { atNs: 0n, usageNs: 0n })).to.equal(undefined);
    expect(rates.read('a', { atNs: 2n * second, usageNs: second })).to.equal(500_000_000n);
    expect(rates.read('a', { atNs: 2n * second + 1n, usageNs: second }), 'asked at once again').to.equal(
      500_000_000n,
    );
    expect(rates.read('b', { atNs: 2n * second, usageNs: second })).to.equal(undefined);
    expect(rates.read('a', { atNs: 3n * second, usageNs: 0n }), 'a counter that began anew').to.equal(
      undefined,
    );
    rates.forget('a');
    expect(rates.read('a', { atNs: 4n * second, usageNs: second })).to.equal(undefined);
  });
});
