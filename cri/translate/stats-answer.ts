import path from 'node:path';
import type {
  ContainerStats as CriContainerStats,
  CpuUsage,
  IoUsage,
  MemoryUsage,
  NetworkInterfaceUsage,
  PodSandboxStats as CriPodSandboxStats,
  PsiData,
  PsiStats,
  SwapUsage,
  UInt64Value,
} from '../../protos/gen/cri/runtime/v1/api.js';
import type { CgroupStats, Psi, PsiValues } from '../../runtime/cgroup/types.js';
import type { ContainerStats } from '../../runtime/container/types.js';
import type { Sandbox, SandboxStats } from '../../runtime/sandbox/types.js';
import { containerClientOf, podClientOf } from './client-record.js';

/** Gives the rate of a counter between this reading and an earlier one; undefined at the first. */
export type CpuRate = (
  id: string,
  reading: { readonly atNs: bigint; readonly usageNs: bigint },
) => bigint | undefined;

/** The figures of a container; what its cgroup does not have stays absent. */
export function toCriContainerStats(stats: ContainerStats, rate: CpuRate): CriContainerStats {
  const { container, cgroup, writableLayer } = stats;
  const client = containerClientOf(container);
  return {
    attributes: {
      id: container.id,
      metadata: { ...client.metadata },
      labels: { ...client.labels },
      annotations: { ...client.annotations },
    },
    cpu: toCpu(container.id, cgroup, rate),
    memory: toMemory(cgroup),
    writableLayer:
      writableLayer === undefined
        ? undefined
        : {
            timestamp: writableLayer.atNs,
            // One place for all of them: clients look up its file system by this text.
            fsId: { mountpoint: path.dirname(path.dirname(writableLayer.path)) },
            usedBytes: { value: writableLayer.bytes },
            inodesUsed: { value: writableLayer.inodes },
          },
    swap: toSwap(cgroup),
    io: toIo(cgroup),
  };
}

/**
 * The figures of a sandbox with those of its containers. Where the pod has no cgroup of its own, its use is the sum of
 * the sandbox' and its containers'.
 */
export function toCriSandboxStats(
  { sandbox, cgroup: own, interfaces, atNs }: SandboxStats,
  containers: readonly ContainerStats[],
  rate: CpuRate,
): CriPodSandboxStats {
  const cgroup =
    sandbox.request.cgroupParent === ''
      ? addUsage(
          own,
          containers.map((stats) => stats.cgroup),
        )
      : own;
  const network = interfaces.map(({ name, rxBytes, rxErrors, txBytes, txErrors }): NetworkInterfaceUsage => ({
    name,
    rxBytes: { value: rxBytes },
    rxErrors: { value: rxErrors },
    txBytes: { value: txBytes },
    txErrors: { value: txErrors },
  }));
  const defaultInterface = network.find(({ name }) => name === 'eth0') ?? network[0];
  return {
    attributes: toAttributes(sandbox),
    linux: {
      cpu: toCpu(sandbox.id, cgroup, rate),
      memory: toMemory(cgroup),
      network:
        defaultInterface === undefined
          ? undefined
          : {
              timestamp: atNs,
              defaultInterface,
              interfaces: network.filter((usage) => usage !== defaultInterface),
            },
      process:
        cgroup?.pids === undefined
          ? undefined
          : { timestamp: cgroup.atNs, processCount: { value: cgroup.pids.current } },
      containers: containers.map((stats) => toCriContainerStats(stats, rate)),
      io: toIo(cgroup),
    },
    windows: undefined,
  };
}

/** The sum of what can be summed: pressure and limits are those of the first. */
function addUsage(
  own: CgroupStats | undefined,
  others: readonly (CgroupStats | undefined)[],
): CgroupStats | undefined {
  return others.reduce((sum, other) => {
    if (sum === undefined || other === undefined) return sum ?? other;
    const { cpu, memory, pids } = other;
    return {
      ...sum,
      cpu: sum.cpu && cpu && { ...sum.cpu, usageNs: sum.cpu.usageNs + cpu.usageNs },
      memory: sum.memory && memory && addMemory(sum.memory, memory),
      pids: sum.pids && pids && { ...sum.pids, current: sum.pids.current + pids.current },
    };
  }, own);
}

type Memory = NonNullable<CgroupStats['memory']>;

function addMemory(a: Memory, b: Memory): Memory {
  return {
    ...a,
    usageBytes: a.usageBytes + b.usageBytes,
    workingSetBytes: a.workingSetBytes + b.workingSetBytes,
    rssBytes: a.rssBytes + b.rssBytes,
    pageFaults: a.pageFaults + b.pageFaults,
    majorPageFaults: a.majorPageFaults + b.majorPageFaults,
    swapUsageBytes:
      a.swapUsageBytes === undefined ? b.swapUsageBytes : a.swapUsageBytes + (b.swapUsageBytes ?? 0n),
  };
}

function toAttributes(sandbox: Sandbox) {
  const client = podClientOf(sandbox);
  return {
    id: sandbox.id,
    metadata: { ...client.metadata },
    labels: { ...client.labels },
    annotations: { ...client.annotations },
  };
}

function toCpu(id: string, cgroup: CgroupStats | undefined, rate: CpuRate): CpuUsage | undefined {
  if (cgroup?.cpu === undefined) return undefined;
  const { usageNs, psi } = cgroup.cpu;
  const nanoCores = rate(id, { atNs: cgroup.atNs, usageNs });
  return {
    timestamp: cgroup.atNs,
    usageCoreNanoSeconds: { value: usageNs },
    usageNanoCores: optional(nanoCores),
    psi: toPsi(psi),
  };
}

function toMemory(cgroup: CgroupStats | undefined): MemoryUsage | undefined {
  if (cgroup?.memory === undefined) return undefined;
  const { usageBytes, workingSetBytes, rssBytes, limitBytes, pageFaults, majorPageFaults, psi } =
    cgroup.memory;
  const available = limitBytes === undefined ? undefined : limitBytes - workingSetBytes;
  return {
    timestamp: cgroup.atNs,
    workingSetBytes: { value: workingSetBytes },
    availableBytes: optional(available === undefined || available >= 0n ? available : 0n),
    usageBytes: { value: usageBytes },
    rssBytes: { value: rssBytes },
    pageFaults: { value: pageFaults },
    majorPageFaults: { value: majorPageFaults },
    psi: toPsi(psi),
  };
}

function toSwap(cgroup: CgroupStats | undefined): SwapUsage | undefined {
  if (cgroup?.memory?.swapUsageBytes === undefined) return undefined;
  const { swapUsageBytes, swapLimitBytes } = cgroup.memory;
  const available = swapLimitBytes === undefined ? undefined : swapLimitBytes - swapUsageBytes;
  return {
    timestamp: cgroup.atNs,
    swapAvailableBytes: optional(available === undefined || available >= 0n ? available : 0n),
    swapUsageBytes: { value: swapUsageBytes },
  };
}

function toIo(cgroup: CgroupStats | undefined): IoUsage | undefined {
  return cgroup?.io === undefined ? undefined : { timestamp: cgroup.atNs, psi: toPsi(cgroup.io.psi) };
}

function toPsi(psi: Psi | undefined): PsiStats | undefined {
  return psi === undefined ? undefined : { Full: toPsiData(psi.full), Some: toPsiData(psi.some) };
}

function toPsiData({ totalUs, avg10, avg60, avg300 }: PsiValues): PsiData {
  return { Total: totalUs, Avg10: avg10, Avg60: avg60, Avg300: avg300 };
}

function optional(value: bigint | undefined): UInt64Value | undefined {
  return value === undefined ? undefined : { value };
}
