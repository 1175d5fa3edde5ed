import { expect } from 'chai';
import { proxyFor } from './proxy.js';

describe('proxy environment', () => {
  const environment = { https_proxy: 'http://secure:3128', HTTP_PROXY: 'plain:8080' };
  const of = (url: string, noProxy = ''): string | undefined =>
    proxyFor(new URL(url), { ...environment, NO_PROXY: noProxy })?.href;

  it('goes by the scheme', () => {
    expect(of('https://quay.io/v2/')).to.equal('http://secure:3128/');
    expect(of('http://quay.io/v2/')).to.equal('http://plain:8080/');
    expect(proxyFor(new URL('https://quay.io'), {})).to.equal(undefined);
  });

  it('never serves loopback', () => {
    for (const host of ['127.0.0.1:5000', '127.8.8.8', 'localhost', 'a.localhost:1', '[::1]:5000'])
      expect(of(`https://${host}/`), host).to.equal(undefined);
  });

  const excluded: readonly (readonly [string, string, boolean])[] = [
    ['*', 'https://quay.io', true],
    ['quay.io', 'https://quay.io', true],
    ['quay.io', 'https://cdn.quay.io', true],
    ['quay.io', 'https://notquay.io', false],
    ['.quay.io', 'https://quay.io', false],
    ['.quay.io', 'https://cdn.quay.io', true],
    ['*.quay.io', 'https://cdn.quay.io', true],
    ['quay.io:8443', 'https://quay.io', false],
    ['quay.io:443', 'https://quay.io', true],
    ['10.0.0.0/8, example.org', 'https://10.1.2.3:5000', true],
    ['10.0.0.0/8', 'https://11.1.2.3', false],
    ['10.0.0.5', 'https://10.0.0.5:5000', true],
    ['fd00::/8', 'https://[fd00::5]:5000', true],
    ['10.0.0.0/99', 'https://10.1.2.3', false],
    ['QUAY.IO', 'https://quay.io', true],
  ];
  for (const [noProxy, url, expected] of excluded)
    it(`NO_PROXY=${noProxy} ${expected ? 'covers' : 'does not cover'} ${url}`, () =>
      expect(of(url, noProxy) === undefined).to.equal(expected));
});
