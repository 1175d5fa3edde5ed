import { expect } from 'chai';
import type { CgroupStats } from '../../runtime/cgroup/types.js';
import type { Container, ContainerStats } from '../../runtime/container/types.js';
import type { Sandbox } from '../../runtime/sandbox/types.js';
import { toCriContainerStats, toCriSandboxStats } from './stats-answer.js';

const client = { version: 1, metadata: { name: 'n', attempt: 0 }, labels: { l: '1' }, annotations: {} };
const psi = {
  some: { avg10: 1, avg60: 2, avg300: 3, totalUs: 4n },
  full: { avg10: 5, avg60: 6, avg300: 7, totalUs: 8n },
};

function cgroup(usage: bigint): CgroupStats {
  return {
    atNs: 100n,
    cpu: {
      usageNs: usage,
      userNs: 0n,
      kernelNs: 0n,
      periods: 0n,
      throttledPeriods: 0n,
      throttledNs: 0n,
      psi,
    },
    memory: {
      usageBytes: usage,
      workingSetBytes: usage,
      rssBytes: usage,
      cacheBytes: 0n,
      pageFaults: usage,
      majorPageFaults: usage,
      limitBytes: 1000n,
      swapUsageBytes: 5n,
      swapLimitBytes: 3n,
      oomKills: 0n,
      detail: undefined,
      psi: undefined,
    },
    pids: { current: usage, limit: undefined },
    io: undefined,
    hugetlb: [],
  };
}

function container(usage: bigint): ContainerStats {
  return {
    container: { id: 'c', request: { client } } as Container,
    cgroup: cgroup(usage),
    writableLayer: { atNs: 7n, path: '/root/containers/c/upper', bytes: 8n, inodes: 9n },
    processes: undefined,
  };
}

function sandbox(cgroupParent: string): Sandbox {
  return { id: 's', request: { client, cgroupParent } } as Sandbox;
}

const rate = () => 42n;
const counters = { rxPackets: 0n, rxDropped: 0n, txPackets: 0n, txDropped: 0n };
const eth0 = { name: 'eth0', rxBytes: 1n, rxErrors: 2n, txBytes: 3n, txErrors: 4n, ...counters };

describe('stats', () => {
  it('of a container', () => {
    const stats = toCriContainerStats(container(10n), rate);
    expect(stats.attributes).to.deep.include({ id: 'c', labels: { l: '1' } });
    expect(stats.cpu).to.deep.equal({
      timestamp: 100n,
      usageCoreNanoSeconds: { value: 10n },
      usageNanoCores: { value: 42n },
      psi: {
        Some: { Total: 4n, Avg10: 1, Avg60: 2, Avg300: 3 },
        Full: { Total: 8n, Avg10: 5, Avg60: 6, Avg300: 7 },
      },
    });
    expect(stats.memory?.availableBytes).to.deep.equal({ value: 990n });
    expect(stats.swap?.swapAvailableBytes, 'more than the limit is used').to.deep.equal({ value: 0n });
    expect(stats.io).to.equal(undefined);
    expect(stats.writableLayer?.fsId?.mountpoint).to.equal('/root/containers');
  });

  it('of a container whose cgroup is gone', () => {
    const stats = toCriContainerStats(
      { ...container(1n), cgroup: undefined, writableLayer: undefined },
      rate,
    );
    const { cpu, memory, swap, io, writableLayer } = stats;
    expect([cpu, memory, swap, io, writableLayer]).to.deep.equal(Array.from({ length: 5 }));
  });

  it('of a sandbox are those of the cgroup of the pod', () => {
    const reading = {
      sandbox: sandbox('/kubepods/pod1'),
      cgroup: cgroup(100n),
      interfaces: [eth0],
      atNs: 5n,
    };
    const { linux } = toCriSandboxStats(reading, [container(10n)], rate);
    expect(linux?.cpu?.usageCoreNanoSeconds).to.deep.equal({ value: 100n });
    expect(linux?.process).to.deep.equal({ timestamp: 100n, processCount: { value: 100n } });
    expect(linux?.network?.defaultInterface?.rxBytes).to.deep.equal({ value: 1n });
    expect(linux?.network?.interfaces).to.deep.equal([]);
    expect(linux?.containers).to.have.length(1);
  });

  it('of a sandbox without such a cgroup are summed', () => {
    const reading = { sandbox: sandbox(''), cgroup: cgroup(1n), interfaces: [], atNs: 5n };
    const { linux } = toCriSandboxStats(reading, [container(10n), container(100n)], rate);
    expect(linux?.cpu?.usageCoreNanoSeconds).to.deep.equal({ value: 111n });
    expect(linux?.memory?.workingSetBytes).to.deep.equal({ value: 111n });
    expect(linux?.process?.processCount).to.deep.equal({ value: 111n });
    expect(linux?.network).to.equal(undefined);
    const none = toCriSandboxStats({ ...reading, cgroup: undefined }, [container(10n)], rate);
    expect(none.linux?.cpu?.usageCoreNanoSeconds).to.deep.equal({ value: 10n });
  });
});
