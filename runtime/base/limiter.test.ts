import { expect } from 'chai';
import { Limiter } from './limiter.js';

describe('limiter', () => {
  it('lets so many run at a time, in order', async () => {
    const limiter = new Limiter(2);
    const [started, releases]: [number[], (() => void)[]] = [[], []];
    const work = (index: number): Promise<number> =>
      limiter.run(async () => {
        started.push(index);
        await new Promise<void>((resolve) => releases.push(resolve));
        return index;
      });
    const all = Promise.all([0, 1, 2, 3, 4].map(work));
    const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    for (const expected of [2, 3, 4, 5, 5]) {
      await settle();
      expect(started).to.have.length(expected);
      releases.shift()?.();
    }
    expect(await all).to.deep.equal([0, 1, 2, 3, 4]);
    expect(started).to.deep.equal([0, 1, 2, 3, 4]);
  });

  it('gives the place on when work fails or a waiter leaves', async () => {
    const limiter = new Limiter(1);
    let fail = (_: Error): void => undefined;
    const first = limiter.run(() => new Promise((_, reject) => (fail = reject)));
    const leaver = new AbortController();
    const left = limiter.run(async () => 'never', leaver.signal).catch((error: Error) => error.message);
    const last = limiter.run(async () => 'last');
    leaver.abort(new Error('left'));
    expect(await left).to.equal('left');
    fail(new Error('failed'));
    expect(await first.catch((error: Error) => error.message)).to.equal('failed');
    expect(await last).to.equal('last');
    expect(await limiter.run(async () => 'again')).to.equal('again');
  });
});
