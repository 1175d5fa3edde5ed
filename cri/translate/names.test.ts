import { expect } from 'chai';
import { checkAnnotations, checkLabels, toPodMetadata } from './names.js';
import { refusalOf } from '../testing/refusal.js';

describe('names', () => {
  const metadata = { name: 'n', uid: 'u', namespace: 'ns', attempt: 3 };
  it('are taken as they are', () => {
    expect(toPodMetadata(metadata)).to.deep.equal(metadata);
  });
  for (const change of [
    { name: '' },
    { uid: '' },
    { namespace: '' },
    { name: 'a/b' },
    { name: 'a\nb' },
    { uid: 'x'.repeat(254) },
    { namespace: 'a b' },
  ]) {
    it(`refuse ${JSON.stringify(change).slice(0, 40)}`, () => {
      expect(refusalOf(() => toPodMetadata({ ...metadata, ...change }))).to.match(
        /^InvalidArgument: config\.metadata\./,
      );
    });
  }
  it('must be there', () => {
    expect(refusalOf(() => toPodMetadata(undefined))).to.equal(
      'InvalidArgument: config.metadata: is missing',
    );
  });
  it('labels and annotations are bounded and printable', () => {
    const good = { 'io.kubernetes.pod.name': 'x', a: '', multi: 'line\nline' };
    expect(checkLabels(good)).to.equal(good);
    for (const key of ['', 'a b', 'a\n', 'ä', 'x'.repeat(513)]) {
      expect(
        refusalOf(() => checkLabels({ [key]: '' })),
        key,
      ).to.match(/^InvalidArgument: config\.labels\[/);
    }
    expect(refusalOf(() => checkLabels({ a: 'x\0' }))).to.match(/NUL/);
    expect(refusalOf(() => checkLabels({ a: 'x'.repeat(300_000) }))).to.match(/at most/);
    expect(refusalOf(() => checkAnnotations({ a: 'x'.repeat(600_000), b: 'x'.repeat(600_000) }))).to.match(
      /in all/,
    );
  });
});
