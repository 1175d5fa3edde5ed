import { expect } from 'chai';
import { completeChange, mergeResources } from './operations.js';

describe('new limits of a container', () => {
  it('replace what was set value by value, huge pages by their size', () => {
    const old = {
      cpu: { shares: 5, cpus: '0' },
      memory: { limit: 100 },
      hugepageLimits: [
        { pageSize: '2MB', limit: 1 },
        { pageSize: '1GB', limit: 2 },
      ],
      unified: { 'memory.high': '5' },
    };
    const change = {
      cpu: { cpus: '1' },
      memory: { swap: 200 },
      hugepageLimits: [{ pageSize: '1GB', limit: 3 }],
      unified: { 'memory.low': '1' },
    };
    expect(mergeResources(old, change)).to.deep.equal({
      cpu: { shares: 5, cpus: '1' },
      memory: { limit: 100, swap: 200 },
      hugepageLimits: [
        { pageSize: '2MB', limit: 1 },
        { pageSize: '1GB', limit: 3 },
      ],
      unified: { 'memory.high': '5', 'memory.low': '1' },
    });
  });

  it('bring the old quota with a new period, and the old memory limit with new swap', () => {
    const old = { cpu: { quota: 50_000, period: 100_000, shares: 5 }, memory: { limit: 100 } };
    expect(completeChange(old, { cpu: { period: 20_000 }, memory: { swap: 300 } })).to.deep.equal({
      cpu: { period: 20_000, quota: 50_000 },
      memory: { limit: 100, swap: 300 },
    });
    expect(completeChange(old, { cpu: { quota: 10_000 } })).to.deep.equal({ cpu: { quota: 10_000 } });
    expect(completeChange(undefined, {})).to.deep.equal({});
  });
});
