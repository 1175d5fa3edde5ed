import { expect } from 'chai';
import type { SnapshotUsage } from './types.js';
import { UsageMeter } from './usage-meter.js';

const hourNs = 3_600_000_000_000n;

function result(bytes: bigint): SnapshotUsage {
  return { path: '/upper', bytes, inodes: 1n, atNs: 1n };
}

/** Walks that end when they are told to. */
function heldWalks() {
  const walks: { readonly end: (usage: SnapshotUsage) => void; readonly fail: (error: Error) => void }[] = [];
  const measure = (): Promise<SnapshotUsage> =>
    new Promise((end, fail) => {
      walks.push({ end, fail });
    });
  return { walks, measure };
}

describe('the usage of writable layers', () => {
  it('is waited for only the first time', async () => {
    const { walks, measure } = heldWalks();
    const meter = new UsageMeter(measure, { freshNs: 0n, knownNs: hourNs });
    const first = meter.usage('c', '/upper');
    const joined = meter.usage('c', '/upper');
    expect(walks).to.have.length(1);
    walks[0]?.end(result(1n));
    expect((await first).bytes).to.equal(1n);
    expect((await joined).bytes).to.equal(1n);

    expect((await meter.usage('c', '/upper')).bytes, 'while it is renewed').to.equal(1n);
    expect((await meter.usage('c', '/upper')).bytes, 'while it still is').to.equal(1n);
    expect(walks, 'no second walk beside a slow one').to.have.length(2);
    walks[1]?.end(result(2n));
    await Promise.resolve();
    expect((await meter.usage('c', '/upper')).bytes).to.equal(2n);
  });

  it('is not measured again while it is fresh', async () => {
    const { walks, measure } = heldWalks();
    const meter = new UsageMeter(measure, { freshNs: hourNs, knownNs: hourNs });
    const first = meter.usage('c', '/upper');
    walks[0]?.end(result(1n));
    await first;
    await meter.usage('c', '/upper');
    expect(walks).to.have.length(1);
    meter.forget('c');
    void meter.usage('c', '/upper');
    expect(walks).to.have.length(2);
  });

  it('is waited for when the last result is old', async () => {
    const { walks, measure } = heldWalks();
    const meter = new UsageMeter(measure, { freshNs: 0n, knownNs: 0n });
    const first = meter.usage('c', '/upper');
    walks[0]?.end(result(1n));
    await first;
    const second = meter.usage('c', '/upper');
    walks[1]?.end(result(2n));
    expect((await second).bytes).to.equal(2n);
  });

  it('that cannot be measured fails for who waits, and is tried again', async () => {
    const { walks, measure } = heldWalks();
    const meter = new UsageMeter(measure, { freshNs: hourNs, knownNs: hourNs });
    const first = meter.usage('c', '/upper').catch((error: unknown) => error);
    walks[0]?.fail(new Error('gone'));
    expect(String(await first)).to.equal('Error: gone');
    const second = meter.usage('c', '/upper');
    walks[1]?.end(result(2n));
    expect((await second).bytes).to.equal(2n);
  });
});
