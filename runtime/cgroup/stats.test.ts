import { expect } from 'chai';
import { hugePageFiles, hugePageSizes, parseHugePages } from './huge-pages.js';
import type { CgroupLayout } from './layout.js';
import { parsePsi } from './parse.js';
import { parseStatsV1 } from './stats-v1.js';
import { parseStatsV2 } from './stats-v2.js';

const pressure =
  'some avg10=1.50 avg60=2.00 avg300=3.00 total=4000\nfull avg10=0.10 avg60=0.20 avg300=0.30 total=500\n';

describe('figures of a cgroup', () => {
  it('from the files of v1', () => {
    const readings = new Map([
      ['cpuacct.usage', '5000000000\n'],
      ['cpuacct.stat', 'user 300\nsystem 200\n'],
      ['cpu.stat', 'nr_periods 10\nnr_throttled 4\nthrottled_time 7000\n'],
      ['cpu.pressure', pressure],
      ['memory.usage_in_bytes', '1000\n'],
      [
        'memory.stat',
        'cache 1\nrss 2\ntotal_cache 100\ntotal_rss 200\ntotal_swap 50\ntotal_mapped_file 30\ntotal_pgfault 9\ntotal_pgmajfault 3\ntotal_inactive_file 400\ntotal_active_file 60\n',
      ],
      ['memory.limit_in_bytes', '4096\n'],
      ['memory.memsw.limit_in_bytes', '8192\n'],
      ['memory.oom_control', 'oom_kill_disable 0\nunder_oom 0\noom_kill 2\n'],
      ['memory.max_usage_in_bytes', '3000\n'],
      ['memory.failcnt', '7\n'],
      ['memory.memsw.failcnt', '4\n'],
      ['memory.kmem.usage_in_bytes', '70\n'],
      ['pids.current', '3\n'],
      ['pids.max', 'max\n'],
      [
        'blkio.throttle.io_service_bytes_recursive',
        '254:0 Read 4096\n254:0 Write 8192\n254:0 Sync 0\nTotal 12288\n',
      ],
      ['blkio.throttle.io_serviced_recursive', '254:0 Read 1\n254:0 Write 2\n254:0 Sync 0\nTotal 3\n'],
    ]);
    const stats = parseStatsV1(readings, 1n);
    expect(stats.cpu).to.include({
      usageNs: 5_000_000_000n,
      userNs: 3_000_000_000n,
      kernelNs: 2_000_000_000n,
      periods: 10n,
      throttledPeriods: 4n,
      throttledNs: 7000n,
    });
    expect(stats.cpu?.psi?.some.totalUs).to.equal(4000n);
    const { detail, ...memory } = stats.memory ?? expect.fail('no memory');
    expect(memory).to.deep.equal({
      usageBytes: 1000n,
      workingSetBytes: 600n,
      rssBytes: 200n,
      cacheBytes: 100n,
      pageFaults: 9n,
      majorPageFaults: 3n,
      limitBytes: 4096n,
      swapUsageBytes: 50n,
      swapLimitBytes: 4096n,
      oomKills: 2n,
      psi: undefined,
    });
    expect(detail).to.deep.equal({
      peakBytes: 3000n,
      limitHits: 11n,
      kernelBytes: 70n,
      mappedFileBytes: 30n,
      activeFileBytes: 60n,
      inactiveFileBytes: 400n,
    });
    expect(stats.pids).to.deep.equal({ current: 3n, limit: undefined });
    expect(stats.io?.entries).to.deep.equal([
      { device: '254:0', op: 'Read', bytes: 4096n, ops: 1n },
      { device: '254:0', op: 'Write', bytes: 8192n, ops: 2n },
      { device: '254:0', op: 'Sync', bytes: 0n, ops: 0n },
    ]);
  });

  it('from the files of v2', () => {
    const readings = new Map([
      [
        'cpu.stat',
        'usage_usec 5000\nuser_usec 3000\nsystem_usec 2000\nnr_periods 10\nnr_throttled 4\nthrottled_usec 7\n',
      ],
      ['memory.current', '1000\n'],
      [
        'memory.stat',
        'anon 200\nfile 100\nkernel 70\nfile_mapped 30\ninactive_file 400\nactive_file 60\npgfault 9\npgmajfault 3\n',
      ],
      ['memory.max', 'max\n'],
      ['memory.swap.current', '50\n'],
      ['memory.swap.max', '4096\n'],
      ['memory.events', 'low 0\nhigh 0\nmax 11\noom 2\noom_kill 1\n'],
      ['memory.peak', '3000\n'],
      ['memory.pressure', pressure],
      ['io.stat', '254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n'],
    ]);
    const stats = parseStatsV2(readings, 1n);
    expect(stats.cpu).to.include({ usageNs: 5_000_000n, userNs: 3_000_000n, throttledNs: 7000n });
    expect(stats.memory).to.include({
      workingSetBytes: 600n,
      rssBytes: 200n,
      cacheBytes: 100n,
      limitBytes: undefined,
      swapUsageBytes: 50n,
      swapLimitBytes: 4096n,
      oomKills: 1n,
    });
    expect(stats.memory?.psi?.full.totalUs).to.equal(500n);
    expect(stats.memory?.detail).to.deep.equal({
      peakBytes: 3000n,
      limitHits: 11n,
      kernelBytes: 70n,
      mappedFileBytes: 30n,
      activeFileBytes: 60n,
      inactiveFileBytes: 400n,
    });
    expect(stats.io?.entries.slice(0, 2)).to.deep.equal([
      { device: '254:0', op: 'Read', bytes: 4096n, ops: 1n },
      { device: '254:0', op: 'Write', bytes: 8192n, ops: 2n },
    ]);
  });

  it('leave out the details of memory where they were not read', () => {
    expect(parseStatsV1(new Map([['memory.usage_in_bytes', '1']]), 1n).memory?.detail).to.equal(undefined);
    expect(parseStatsV2(new Map([['memory.current', '1']]), 1n).memory?.detail).to.equal(undefined);
  });
});

describe('huge pages', () => {
  const layout: CgroupLayout = {
    mode: 'hybrid',
    v1: [],
    unified: '/unified',
    unifiedControllers: new Set(['hugetlb']),
  };

  it('are read where their controller is', () => {
    expect(hugePageFiles(layout, ['2MB'])).to.deep.equal([
      { mountpoint: '/unified', file: 'hugetlb.2MB.current' },
    ]);
    const v1 = { ...layout, v1: [{ mountpoint: '/hugetlb', controllers: ['hugetlb'] }] };
    expect(hugePageFiles(v1, ['2MB']).map(({ file }) => file)).to.deep.equal([
      'hugetlb.2MB.usage_in_bytes',
      'hugetlb.2MB.max_usage_in_bytes',
    ]);
    expect(hugePageFiles({ ...layout, unifiedControllers: new Set() }, ['2MB'])).to.deep.equal([]);
  });

  it('have no highest usage on v2', () => {
    expect(parseHugePages(new Map([['hugetlb.2MB.current', '4']]), ['2MB', '1GB'])).to.deep.equal([
      { pageSize: '2MB', usageBytes: 4n, peakBytes: undefined },
    ]);
  });

  it('have the sizes of this host', async () => {
    for (const size of await hugePageSizes()) expect(size).to.match(/^\d+(KB|MB|GB)$/);
  });
});

describe('pressure', () => {
  it('has both lines', () => {
    expect(parsePsi(pressure)).to.deep.equal({
      some: { avg10: 1.5, avg60: 2, avg300: 3, totalUs: 4000n },
      full: { avg10: 0.1, avg60: 0.2, avg300: 0.3, totalUs: 500n },
    });
  });

  it('of CPU has no full line on old kernels', () => {
    expect(parsePsi('some avg10=1.00 avg60=0.00 avg300=0.00 total=7\n')?.full.totalUs).to.equal(0n);
    expect(parsePsi('')).to.equal(undefined);
  });
});
