import type { CgroupStats, Psi } from '../../runtime/cgroup/types.js';
import type { Container, ContainerStats } from '../../runtime/container/types.js';
import type { StorageFigures } from '../../runtime/storage.js';
import { type Family, families } from './families.js';
import type { MetricWriter } from './metric-writer.js';

const NS_PER_S = 1_000_000_000n;
const US_PER_S = 1_000_000n;

/** What the kernel does where the specification says nothing. */
const defaultCpuPeriodUs = 100_000;
const defaultCpuShares = 1024;

/** Stands for "no limit" where the value cannot be negative. */
const unlimited = 2n ** 64n - 1n;

export interface SampleContext {
  readonly storage: StorageFigures;
  readonly nowNs: bigint;
}

/** Everything there is to say of a container. What its cgroup does not have is left out. */
export function writeContainerSamples(
  writer: MetricWriter,
  { container, cgroup, writableLayer, processes }: ContainerStats,
  { storage, nowNs }: SampleContext,
): void {
  writer.add(families.lastSeen, nowNs / NS_PER_S);
  writeSpec(writer, container);
  writeFilesystem(writer, writableLayer, storage);
  if (processes !== undefined) writeProcesses(writer, processes);
  if (cgroup === undefined) return;
  writeCpu(writer, cgroup.cpu);
  writeMemory(writer, cgroup.memory);
  writeIo(writer, cgroup.io, storage);
  writePids(writer, cgroup.pids);
  for (const { pageSize, usageBytes, peakBytes } of cgroup.hugetlb) {
    writer.add(families.hugetlbUsage, usageBytes, pageSize);
    if (peakBytes !== undefined) writer.add(families.hugetlbPeak, peakBytes, pageSize);
  }
}

function writeSpec(writer: MetricWriter, { state, createdAtNs, spec }: Container): void {
  const { cpu, memory } = spec.linux?.resources ?? {};
  writer.add(families.startTime, ('startedAtNs' in state ? state.startedAtNs : createdAtNs) / NS_PER_S);
  writer.add(families.specCpuPeriod, positive(cpu?.period) || defaultCpuPeriodUs);
  writer.add(families.specCpuShares, positive(cpu?.shares) || defaultCpuShares);
  if (positive(cpu?.quota) > 0) writer.add(families.specCpuQuota, positive(cpu?.quota));
  writer.add(families.specMemoryLimit, positive(memory?.limit));
  writer.add(families.specMemoryReservation, positive(memory?.reservation));
  writer.add(families.specMemorySwapLimit, positive(memory?.swap));
}

/** Absent and -1 both mean that there is no limit. */
function positive(limit: number | undefined): number {
  return limit === undefined || limit < 0 ? 0 : limit;
}

function writeFilesystem(
  writer: MetricWriter,
  layer: ContainerStats['writableLayer'],
  { filesystem }: StorageFigures,
): void {
  const { device } = filesystem;
  if (layer !== undefined) writer.add(families.fsUsage, layer.bytes, device);
  writer.add(families.fsLimit, filesystem.bytes, device);
  writer.add(families.fsInodes, filesystem.inodes, device);
  writer.add(families.fsInodesFree, filesystem.inodesFree, device);
}

function writeProcesses(
  writer: MetricWriter,
  { processes, descriptors, sockets, softLimits }: NonNullable<ContainerStats['processes']>,
): void {
  writer.add(families.processes, processes);
  writer.add(families.fileDescriptors, descriptors);
  writer.add(families.sockets, sockets);
  for (const [name, value] of softLimits) writer.add(families.ulimits, value ?? unlimited, name);
}

function writeCpu(writer: MetricWriter, cpu: CgroupStats['cpu']): void {
  if (cpu === undefined) return;
  writer.add(families.cpuUsage, cpu.usageNs / NS_PER_S, 'total');
  writer.add(families.cpuUser, cpu.userNs / NS_PER_S);
  writer.add(families.cpuSystem, cpu.kernelNs / NS_PER_S);
  writer.add(families.cfsPeriods, cpu.periods);
  writer.add(families.cfsThrottledPeriods, cpu.throttledPeriods);
  writer.add(families.cfsThrottledSeconds, cpu.throttledNs / NS_PER_S);
  writePressure(writer, cpu.psi, families.pressureCpuWaiting, families.pressureCpuStalled);
}

function writeMemory(writer: MetricWriter, memory: CgroupStats['memory']): void {
  if (memory === undefined) return;
  writer.add(families.memoryUsage, memory.usageBytes);
  writer.add(families.memoryWorkingSet, memory.workingSetBytes);
  writer.add(families.memoryRss, memory.rssBytes);
  writer.add(families.memoryCache, memory.cacheBytes);
  // A kernel that does not count swap has none.
  writer.add(families.memorySwap, memory.swapUsageBytes ?? 0n);
  writer.add(families.memoryFailures, memory.pageFaults, 'pgfault', 'container');
  writer.add(families.memoryFailures, memory.majorPageFaults, 'pgmajfault', 'container');
  writer.add(families.oomEvents, memory.oomKills);
  writePressure(writer, memory.psi, families.pressureMemoryWaiting, families.pressureMemoryStalled);
  const { detail } = memory;
  if (detail === undefined) return;
  writer.add(families.memoryPeak, detail.peakBytes);
  writer.add(families.memoryFailcnt, detail.limitHits);
  writer.add(families.memoryKernel, detail.kernelBytes);
  writer.add(families.memoryMappedFile, detail.mappedFileBytes);
  writer.add(families.memoryActiveFile, detail.activeFileBytes);
  writer.add(families.memoryInactiveFile, detail.inactiveFileBytes);
}

function writeIo(writer: MetricWriter, io: CgroupStats['io'], { deviceNames }: StorageFigures): void {
  if (io === undefined) return;
  writePressure(writer, io.psi, families.pressureIoWaiting, families.pressureIoStalled);
  for (const { device, op, bytes, ops } of io.entries) {
    const name = deviceNames.get(device) ?? device;
    const [major = '', minor = ''] = device.split(':');
    writer.add(families.blkioUsage, bytes, name, major, minor, op);
    if (op === 'Read') {
      writer.add(families.fsReadsBytes, bytes, name);
      writer.add(families.fsReads, ops, name);
    }
    if (op === 'Write') {
      writer.add(families.fsWritesBytes, bytes, name);
      writer.add(families.fsWrites, ops, name);
    }
  }
}

function writePids(writer: MetricWriter, pids: CgroupStats['pids']): void {
  if (pids === undefined) return;
  writer.add(families.threads, pids.current);
  writer.add(families.threadsMax, pids.limit ?? 0n);
}

function writePressure(writer: MetricWriter, psi: Psi | undefined, waiting: Family, stalled: Family): void {
  if (psi === undefined) return;
  writer.add(waiting, psi.some.totalUs / US_PER_S);
  writer.add(stalled, psi.full.totalUs / US_PER_S);
}
