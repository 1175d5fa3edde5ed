import { expect } from 'chai';
import { isAtLeast, parseNetworkList } from './config.js';
import { parseResult } from './result.js';

const parse = (json: unknown) => parseNetworkList('10-x.conflist', JSON.stringify(json));

describe('CNI configuration', () => {
  it('reads a list and keeps what it does not know', () => {
    const list = parse({
      cniVersion: '1.0.0',
      name: 'pods',
      plugins: [{ type: 'bridge', ipam: { type: 'host-local' }, capabilities: { portMappings: true } }],
    });
    expect(list).to.include({ name: 'pods', cniVersion: '1.0.0', disableCheck: false });
    expect(list.plugins[0]).to.deep.include({ type: 'bridge', ipam: { type: 'host-local' } });
  });

  it('makes a list of a single plugin', () => {
    expect(parse({ cniVersion: '0.3.1', name: 'one', type: 'ptp' }).plugins).to.have.length(1);
  });

  it('takes the newest version that both sides speak', () => {
    expect(
      parse({
        cniVersions: ['0.4.0', '1.1.0', '9.0.0'],
        cniVersion: '9.0.0',
        name: 'x',
        plugins: [{ type: 'a' }],
      }).cniVersion,
    ).to.equal('1.1.0');
  });

  for (const type of ['../evil', '/bin/sh', '', '.', 'a/b', 'a\0']) {
    it(`refuses the plugin type ${JSON.stringify(type)}`, () => {
      expect(() => parse({ cniVersion: '1.0.0', name: 'x', plugins: [{ type }] })).to.throw(
        'is no plugin name',
      );
    });
  }

  for (const bad of [
    { cniVersion: '0.1.0', name: 'x', plugins: [{ type: 'a' }] },
    { name: '../x', plugins: [{ type: 'a' }] },
    { name: 'x', plugins: [] },
    [],
  ]) {
    it(`refuses ${JSON.stringify(bad)}`, () => {
      expect(() => parse(bad)).to.throw();
    });
  }

  it('compares versions by number', () => {
    expect([
      isAtLeast('1.10.0', '1.9.0'),
      isAtLeast('0.4.0', '0.4.0'),
      isAtLeast('0.3.1', '0.4.0'),
    ]).to.deep.equal([true, true, false]);
  });
});

describe('CNI result', () => {
  it('takes the addresses of interfaces inside the sandbox', () => {
    const result = parseResult({
      interfaces: [
        { name: 'cni0', mac: 'aa' },
        { name: 'eth0', mac: 'bb', sandbox: '/run/netns/x' },
      ],
      ips: [
        { address: '10.0.0.5/24', gateway: '10.0.0.1', interface: 1 },
        { address: '10.9.0.1/24', interface: 0 },
      ],
    });
    expect(result.ips).to.deep.equal(['10.0.0.5']);
    expect(result.interfaces).to.deep.equal([
      { name: 'eth0', mac: 'bb', ips: ['10.0.0.5/24'], gateway: '10.0.0.1' },
    ]);
  });

  it('refuses what is no result', () => {
    for (const raw of [undefined, 'x', { ips: 'x' }, { ips: [{}] }])
      expect(() => parseResult(raw), JSON.stringify(raw)).to.throw();
  });
});
