import { expect } from 'chai';
import { Protocol } from '../../protos/gen/cri/runtime/v1/api.js';
import { toBandwidth, toPodCidrs, toPortMappings } from './network.js';
import { refusalOf } from '../testing/refusal.js';

describe('ports and rates', () => {
  const mapping = { protocol: Protocol.TCP, containerPort: 80, hostPort: 8080, hostIp: '' };
  it('drop what asks for nothing', () => {
    expect(toPortMappings([mapping, { ...mapping, hostPort: 0 }])).to.deep.equal([
      { ...mapping, protocol: 'tcp' },
    ]);
  });
  for (const change of [
    { hostPort: -1 },
    { hostPort: 65536 },
    { containerPort: 0 },
    { containerPort: 70000 },
    { hostIp: 'x' },
    { protocol: 7 as Protocol },
  ]) {
    it(`refuse ${JSON.stringify(change)}`, () => {
      expect(refusalOf(() => toPortMappings([{ ...mapping, ...change }]))).to.match(
        /^InvalidArgument: config\.port_mappings\[0\]/,
      );
    });
  }
  it('read bandwidth annotations', () => {
    const annotations = {
      'kubernetes.io/ingress-bandwidth': '10M',
      'kubernetes.io/egress-bandwidth': '1.5Ki',
    };
    expect(toBandwidth(annotations)).to.deep.equal({ ingressRate: 10_000_000, egressRate: 1536 });
    expect(toBandwidth({})).to.deep.equal({});
    for (const text of ['', '1', '-5M', '1e9', '10Q', '9P9', '2P']) {
      expect(
        refusalOf(() => toBandwidth({ 'kubernetes.io/ingress-bandwidth': text })),
        text,
      ).to.match(/^InvalidArgument/);
    }
  });
  it('read pod ranges', () => {
    expect(toPodCidrs('10.1.0.0/16, fd00::/64')).to.equal('10.1.0.0/16,fd00::/64');
    expect(toPodCidrs('')).to.equal('');
    for (const text of [
      '10.1.0.0',
      '10.1.0.0/33',
      'x/8',
      '10.0.0.0/8/8',
      '1.0.0.0/8,2.0.0.0/8,3.0.0.0/8',
      ',',
    ]) {
      expect(
        refusalOf(() => toPodCidrs(text)),
        text,
      ).to.match(/^InvalidArgument/);
    }
  });
});
