import { expect } from 'chai';
import { LinuxContainerResources } from '../../protos/gen/cri/runtime/v1/api.js';
import { testHost } from '../testing/fixtures.js';
import { fromResources, toOomScoreAdj, toPodLimits, toResources } from './resources.js';
import { refusalOf } from '../testing/refusal.js';

describe('resources', () => {
  const to = (resources: Partial<LinuxContainerResources>, hugetlb = true, swap = true) =>
    toResources('r', LinuxContainerResources.fromPartial(resources), { hugetlb, swap });

  it('leave out what is zero', () => {
    expect(to({})).to.deep.equal({});
    expect(toResources('r', undefined, testHost)).to.equal(undefined);
  });

  it('take everything', () => {
    const all = {
      cpuPeriod: 100_000n,
      cpuQuota: 50_000n,
      cpuShares: 512n,
      memoryLimitInBytes: 1024n ** 3n,
      memorySwapLimitInBytes: 2n * 1024n ** 3n,
      oomScoreAdj: 5n,
      cpusetCpus: '0-1,3',
      cpusetMems: '0',
      hugepageLimits: [{ pageSize: '2MB', limit: 4_194_304n }],
      unified: { 'memory.high': '1000000', 'io.max': '8:0 rbps=1\n8:1 rbps=2' },
    };
    const resources = to(all);
    expect(resources).to.deep.equal({
      cpu: { period: 100_000, quota: 50_000, shares: 512, cpus: '0-1,3', mems: '0' },
      memory: { limit: 1024 ** 3, swap: 2 * 1024 ** 3 },
      hugepageLimits: [{ pageSize: '2MB', limit: 4_194_304 }],
      unified: all.unified,
    });
    expect(fromResources(resources, 5)).to.deep.equal(all);
  });

  it('let a memory limit include swap where that can be limited', () => {
    expect(to({ memoryLimitInBytes: 5n })).to.deep.equal({ memory: { limit: 5, swap: 5 } });
    expect(to({ memoryLimitInBytes: 5n }, true, false)).to.deep.equal({ memory: { limit: 5 } });
    expect(to({ memoryLimitInBytes: 5n, memorySwapLimitInBytes: 7n })).to.deep.equal({
      memory: { limit: 5, swap: 7 },
    });
  });

  it('take no limit as such', () => {
    expect(to({ cpuQuota: -1n, memorySwapLimitInBytes: -1n, memoryLimitInBytes: -1n })).to.deep.equal({
      cpu: { quota: -1 },
      memory: { limit: -1, swap: -1 },
    });
  });

  it('tolerate a zero huge page limit where there is no controller', () => {
    const hugepageLimits = [
      { pageSize: '2MB', limit: 0n },
      { pageSize: '1GB', limit: 1n },
    ];
    expect(to({ hugepageLimits }, false)?.hugepageLimits).to.deep.equal([{ pageSize: '1GB', limit: 1 }]);
    expect(to({ hugepageLimits }, true)?.hugepageLimits).to.have.length(2);
  });

  for (const resources of [
    { cpuPeriod: 999n },
    { cpuPeriod: -1n },
    { cpuPeriod: 1_000_001n },
    { cpuQuota: 999n },
    { cpuQuota: -2n },
    { cpuQuota: 2n ** 63n - 1n },
    { cpuShares: -1n },
    { cpuShares: 2n ** 40n },
    { memoryLimitInBytes: -2n },
    { memoryLimitInBytes: 2n ** 63n - 1n },
    { memoryLimitInBytes: 1000n, memorySwapLimitInBytes: 999n },
    { memorySwapLimitInBytes: 5n },
    { cpusetCpus: '0-' },
    { cpusetCpus: '0\n1' },
    { cpusetCpus: 'x' },
    { cpusetMems: '/etc' },
    { cpusetMems: '1,'.repeat(5000) },
    { hugepageLimits: [{ pageSize: '../2MB', limit: 1n }] },
    { hugepageLimits: [{ pageSize: '2MB', limit: 2n ** 64n - 1n }] },
    { unified: { 'cgroup.procs': '1' } },
    { unified: { '../memory.max': '1' } },
    { unified: { memory: '1' } },
    { unified: { 'memory.max': '' } },
    { unified: { 'memory.max': '1\0' } },
  ] as Partial<LinuxContainerResources>[]) {
    const text = JSON.stringify(resources, (_key, value: unknown) =>
      typeof value === 'bigint' ? `${value}` : value,
    );
    it(`refuse ${text.slice(0, 80)}`, () => {
      expect(refusalOf(() => to(resources))).to.match(/^InvalidArgument: r\./);
    });
  }

  for (const score of [-1001n, 1001n, 2n ** 62n]) {
    it(`refuse the oom score ${score}`, () => {
      const resources = LinuxContainerResources.fromPartial({ oomScoreAdj: score });
      expect(refusalOf(() => toOomScoreAdj('r', resources))).to.match(/^InvalidArgument: r\.oom_score_adj/);
    });
  }

  it('of a pod name the field that is refused', () => {
    const limits = (change: Partial<LinuxContainerResources>) => LinuxContainerResources.fromPartial(change);
    expect(toPodLimits('', {}, testHost)).to.equal(undefined);
    expect(toPodLimits('', { overhead: limits({ cpuShares: 5n }) }, testHost)).to.deep.equal({
      overhead: { cpu: { shares: 5 } },
    });
    for (const [field, resources] of [
      ['p.resources.cpu_period', { resources: limits({ cpuPeriod: 5n }) }],
      ['p.overhead.memory_limit_in_bytes', { overhead: limits({ memoryLimitInBytes: -2n }) }],
      ['p.resources.oom_score_adj', { resources: limits({ oomScoreAdj: 1001n }) }],
    ] as const) {
      expect(refusalOf(() => toPodLimits('p.', resources, testHost))).to.contain(field);
    }
  });
});
