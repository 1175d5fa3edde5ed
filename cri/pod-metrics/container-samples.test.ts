import { expect } from 'chai';
import { ContainerMetrics } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Container, ContainerStats } from '../../runtime/container/types.js';
import type { Resources } from '../../runtime/spec/types.js';
import { writeContainerSamples } from './container-samples.js';
import { type Family, families } from './families.js';
import { MetricWriter, encodeLabels } from './metric-writer.js';

const psi = {
  some: { avg10: 0, avg60: 0, avg300: 0, totalUs: 3_999_999n },
  full: { avg10: 0, avg60: 0, avg300: 0, totalUs: 1_000_000n },
};

const storage = {
  filesystem: { device: '/dev/vda', bytes: 1000n, inodes: 100n, inodesFree: 40n },
  deviceNames: new Map([['254:0', '/dev/vda']]),
};

function figures(resources: Resources | undefined): ContainerStats {
  return {
    container: {
      createdAtNs: 5_000_000_000n,
      state: { phase: 'running', startedAtNs: 7_900_000_000n },
      spec: { linux: { resources } },
    } as Container,
    writableLayer: { atNs: 1n, path: '/upper', bytes: 77n, inodes: 3n },
    processes: {
      processes: 2,
      descriptors: 9,
      sockets: 4,
      softLimits: new Map([
        ['max_open_files', 1024n],
        ['max_processes', undefined],
      ]),
    },
    cgroup: {
      atNs: 1n,
      cpu: {
        usageNs: 12_500_000_000n,
        userNs: 10_000_000_000n,
        kernelNs: 2_500_000_000n,
        periods: 6n,
        throttledPeriods: 5n,
        throttledNs: 1_500_000_000n,
        psi,
      },
      memory: {
        usageBytes: 1n,
        workingSetBytes: 2n,
        rssBytes: 3n,
        cacheBytes: 4n,
        pageFaults: 5n,
        majorPageFaults: 6n,
        limitBytes: undefined,
        swapUsageBytes: undefined,
        swapLimitBytes: undefined,
        oomKills: 7n,
        detail: {
          peakBytes: 8n,
          limitHits: 9n,
          kernelBytes: 10n,
          mappedFileBytes: 11n,
          activeFileBytes: 12n,
          inactiveFileBytes: 13n,
        },
        psi,
      },
      pids: { current: 3n, limit: undefined },
      io: {
        entries: [
          { device: '254:0', op: 'Read', bytes: 4096n, ops: 1n },
          { device: '254:0', op: 'Write', bytes: 8192n, ops: 2n },
          { device: '9:7', op: 'Discard', bytes: 1n, ops: 1n },
        ],
        psi,
      },
      hugetlb: [{ pageSize: '2MB', usageBytes: 2n, peakBytes: 4n }],
    },
  };
}

/** `name{own labels}` → value */
function samples(stats: ContainerStats): Map<string, number> {
  const writer = new MetricWriter(2, encodeLabels([]));
  writeContainerSamples(writer, stats, { storage, nowNs: 8_100_000_000n });
  return new Map(
    ContainerMetrics.decode(writer.finish()).metrics.map(({ name, labelValues, value }) => [
      [name, ...labelValues].join(' '),
      Number(value?.value),
    ]),
  );
}

describe('samples of a container', () => {
  it('carry every figure in the unit of its name', () => {
    const all = samples(
      figures({ cpu: { period: 50_000, quota: 20_000, shares: 512 }, memory: { limit: 64 } }),
    );
    const expected = {
      container_last_seen: 8,
      container_start_time_seconds: 7,
      'container_cpu_usage_seconds_total total': 12,
      container_cpu_user_seconds_total: 10,
      container_cpu_system_seconds_total: 2,
      container_cpu_cfs_throttled_seconds_total: 1,
      container_pressure_cpu_waiting_seconds_total: 3,
      container_pressure_io_stalled_seconds_total: 1,
      'container_memory_failures_total pgmajfault container': 6,
      container_memory_max_usage_bytes: 8,
      container_memory_failcnt: 9,
      container_memory_swap: 0,
      container_oom_events_total: 7,
      'container_hugetlb_max_usage_bytes 2MB': 4,
      'container_fs_usage_bytes /dev/vda': 77,
      'container_fs_inodes_free /dev/vda': 40,
      'container_fs_reads_bytes_total /dev/vda': 4096,
      'container_fs_writes_total /dev/vda': 2,
      'container_blkio_device_usage_total /dev/vda 254 0 Write': 8192,
      'container_blkio_device_usage_total 9:7 9 7 Discard': 1,
      container_processes: 2,
      container_threads: 3,
      container_threads_max: 0,
      container_sockets: 4,
      'container_ulimits_soft max_open_files': 1024,
      'container_ulimits_soft max_processes': Number(2n ** 64n - 1n),
      container_spec_cpu_period: 50_000,
      container_spec_cpu_quota: 20_000,
      container_spec_cpu_shares: 512,
      container_spec_memory_limit_bytes: 64,
      container_spec_memory_reservation_limit_bytes: 0,
    };
    for (const [name, value] of Object.entries(expected)) expect(all.get(name), name).to.equal(value);
  });

  it('have as many label values as their family has keys, and leave out no family but those of the pod', () => {
    const names = new Set<string>();
    for (const key of samples(figures({ cpu: { quota: 1 } })).keys()) {
      const [name = '', ...values] = key.split(' ');
      const family = Object.values<Family>(families).find((candidate) => candidate.name === name);
      expect(values.length, key).to.equal(family?.labels.length);
      names.add(name);
    }
    const missing = Object.values<Family>(families).filter(({ name }) => !names.has(name));
    expect(missing.every(({ name }) => name.startsWith('container_network_'))).to.equal(true);
    expect(missing).to.have.length(8);
  });

  it('say what the kernel does where nothing was asked for', () => {
    const all = samples(figures({ cpu: { quota: -1 }, memory: { limit: -1, swap: -1 } }));
    expect(all.get('container_spec_cpu_period')).to.equal(100_000);
    expect(all.get('container_spec_cpu_shares')).to.equal(1024);
    expect(all.has('container_spec_cpu_quota')).to.equal(false);
    expect(all.get('container_spec_memory_limit_bytes')).to.equal(0);
    expect(all.get('container_spec_memory_swap_limit_bytes')).to.equal(0);
  });

  it('without a cgroup are those of its specification', () => {
    const all = samples({
      ...figures(undefined),
      cgroup: undefined,
      processes: undefined,
      writableLayer: undefined,
    });
    expect([...all.keys()].some((name) => name.startsWith('container_memory'))).to.equal(false);
    expect(all.get('container_spec_cpu_shares')).to.equal(1024);
  });
});
