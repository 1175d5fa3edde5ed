import { expect } from 'chai';
import { resolvConf, toDns, toHostname } from './dns.js';
import { refusalOf } from '../testing/refusal.js';

describe('name resolution', () => {
  it('is written in the order of resolv.conf', () => {
    const dns = toDns({
      servers: ['10.0.0.10', 'fd00::a'],
      searches: ['a.local', 'b'],
      options: ['ndots:5'],
    });
    expect(resolvConf(dns)).to.equal(
      'search a.local b\nnameserver 10.0.0.10\nnameserver fd00::a\noptions ndots:5\n',
    );
    expect(resolvConf(toDns(undefined))).to.equal(undefined);
  });
  for (const change of [
    { servers: ['x'] },
    { servers: ['10.0.0.1\nnameserver 6.6.6.6'] },
    { searches: ['a b'] },
    { searches: [''] },
    { options: ['a\nb'] },
    { options: ['#x'] },
    { searches: Array.from({ length: 101 }, () => 'x') },
  ]) {
    it(`refuses ${JSON.stringify(change).slice(0, 50)}`, () => {
      expect(refusalOf(() => toDns({ servers: [], searches: [], options: [], ...change }))).to.match(
        /^InvalidArgument: config\.dns/,
      );
    });
  }
  it('takes a fully qualified host name with its last dot', () => {
    expect(toHostname('web-0.sub.ns.svc.')).to.equal('web-0.sub.ns.svc.');
  });
  for (const hostname of ['a b', 'a\nb', '-a', 'a/b', '.', 'a..', 'x'.repeat(65), 'a\0']) {
    it(`refuses the host name ${JSON.stringify(hostname).slice(0, 12)}`, () => {
      expect(refusalOf(() => toHostname(hostname))).to.match(/^InvalidArgument: config\.hostname/);
    });
  }
});
