import { expect } from 'chai';
import { parseNetDev } from './stats.js';

describe('interface counters', () => {
  it('come from /proc/PID/net/dev, without the loopback', () => {
    const table = [
      'Inter-|   Receive                                                |  Transmit',
      ' face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed',
      '    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0',
      '  eth0:18446744073709551615 20    3    4    0     0          0         0     5000      60    7    8    0     0       0          0',
      '',
    ].join('\n');
    expect(parseNetDev(table)).to.deep.equal([
      {
        name: 'eth0',
        rxBytes: 18446744073709551615n,
        rxPackets: 20n,
        rxErrors: 3n,
        rxDropped: 4n,
        txBytes: 5000n,
        txPackets: 60n,
        txErrors: 7n,
        txDropped: 8n,
      },
    ]);
  });
});
