import { expect } from 'chai';
import fc from 'fast-check';
import { RuntimeError } from '../../errors.js';
import { AddressPool, addressBytes, parseSubnet, printSubnet } from './pool.js';

describe('address pool', () => {
  it('gives the gateway the first address and pods the others, in turn', () => {
    const pool = new AddressPool(parseSubnet('10.1.2.0/29'));
    expect(pool.gateway).to.equal('10.1.2.1');
    expect([pool.allocate(), pool.allocate()]).to.deep.equal(['10.1.2.2', '10.1.2.3']);
    pool.release('10.1.2.2');
    expect(pool.allocate(), 'a freed address rests').to.equal('10.1.2.4');
  });

  it('is empty when every address is taken, and says so', () => {
    const pool = new AddressPool(parseSubnet('10.1.2.0/29'));
    for (let count = 0; count < 5; count++) pool.allocate();
    expect(() => pool.allocate()).to.throw(RuntimeError, '10.1.2.0/29 has no free address');
    pool.release('10.1.2.4');
    expect(pool.allocate()).to.equal('10.1.2.4');
  });

  it('keeps away from addresses an earlier daemon gave out', () => {
    const pool = new AddressPool(parseSubnet('fd00:1::/120'));
    pool.take('fd00:1::2');
    pool.take('10.0.0.1');
    expect(pool.allocate()).to.equal('fd00:1::3');
  });

  it('never gives an address twice', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 200 }), (steps) => {
        const pool = new AddressPool(parseSubnet('192.168.0.0/26'));
        const held: string[] = [];
        for (const take of steps) {
          if (take && held.length < 61) {
            const address = pool.allocate();
            expect(held).not.to.include(address);
            held.push(address);
          } else {
            const address = held.shift();
            if (address !== undefined) pool.release(address);
          }
        }
      }),
    );
  });

  for (const bad of ['', '10.0.0.0', '10.0.0.0/33', 'x/8', '10.0.0.0/-1', '10.0.0.0/31']) {
    it(`refuses ${JSON.stringify(bad)}`, () => {
      expect(() => new AddressPool(parseSubnet(bad))).to.throw(RuntimeError);
    });
  }

  it('reads and prints both families', () => {
    expect(printSubnet(parseSubnet('10.1.2.3/16'))).to.equal('10.1.0.0/16');
    expect(printSubnet(parseSubnet('FD00::1:0:0:5/64'))).to.equal('fd00::/64');
    expect(addressBytes('::ffff:1.2.3.4').toString('hex')).to.equal('00000000000000000000ffff01020304');
  });
});
