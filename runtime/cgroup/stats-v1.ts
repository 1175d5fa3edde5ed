import { hierarchyOf, type CgroupLayout } from './layout.js';
import { parseFlat, parseNumber, parsePsi } from './parse.js';
import type { Readings, StatsFile } from './stats.js';
import type { CgroupStats, MemoryDetail } from './types.js';

const byController: Readonly<Record<string, readonly string[]>> = {
  cpuacct: ['cpuacct.usage', 'cpuacct.stat'],
  cpu: ['cpu.stat'],
  memory: [
    'memory.usage_in_bytes',
    'memory.stat',
    'memory.limit_in_bytes',
    'memory.memsw.limit_in_bytes',
    'memory.oom_control',
    'memory.max_usage_in_bytes',
    'memory.failcnt',
    'memory.memsw.failcnt',
    'memory.kmem.usage_in_bytes',
  ],
  pids: ['pids.current', 'pids.max'],
  blkio: ['blkio.throttle.io_service_bytes_recursive', 'blkio.throttle.io_serviced_recursive'],
};

const pressureFiles = ['cpu.pressure', 'memory.pressure', 'io.pressure'] as const;

/** USER_HZ, the unit of cpuacct.stat: 100 on every architecture Linux has. */
const NS_PER_TICK = 10_000_000n;
/** v1 shows "no limit" as the largest page-aligned number; nobody has half of that. */
const UNLIMITED = 1n << 62n;

/** What is read of each cgroup: the mounted controllers' files, and the pressure files of a hybrid's unified tree. */
export function filesV1(layout: CgroupLayout): readonly StatsFile[] {
  const files = Object.entries(byController).flatMap(([controller, names]) => {
    const hierarchy = hierarchyOf(layout, controller);
    return hierarchy === undefined ? [] : names.map((file) => ({ mountpoint: hierarchy.mountpoint, file }));
  });
  const { unified } = layout;
  return unified === undefined
    ? files
    : [...files, ...pressureFiles.map((file) => ({ mountpoint: unified, file }))];
}

export function parseStatsV1(readings: Readings, atNs: bigint): Omit<CgroupStats, 'hugetlb'> {
  return {
    atNs,
    cpu: parseCpu(readings),
    memory: parseMemory(readings),
    pids: parsePids(readings),
    io: parseIo(readings),
  };
}

function parseCpu(readings: Readings): CgroupStats['cpu'] {
  const usageNs = parseNumber(readings.get('cpuacct.usage'));
  if (usageNs === undefined) return undefined;
  const ticks = parseFlat(readings.get('cpuacct.stat'));
  const stat = parseFlat(readings.get('cpu.stat'));
  return {
    usageNs,
    userNs: (ticks('user') ?? 0n) * NS_PER_TICK,
    kernelNs: (ticks('system') ?? 0n) * NS_PER_TICK,
    periods: stat('nr_periods') ?? 0n,
    throttledPeriods: stat('nr_throttled') ?? 0n,
    throttledNs: stat('throttled_time') ?? 0n,
    psi: parsePsi(readings.get('cpu.pressure')),
  };
}

function parseMemory(readings: Readings): CgroupStats['memory'] {
  const usageBytes = parseNumber(readings.get('memory.usage_in_bytes'));
  if (usageBytes === undefined) return undefined;
  const stat = parseFlat(readings.get('memory.stat'));
  const inactive = stat('total_inactive_file') ?? 0n;
  const limitBytes = limit(readings.get('memory.limit_in_bytes'));
  const sumLimit = limit(readings.get('memory.memsw.limit_in_bytes'));
  return {
    usageBytes,
    workingSetBytes: usageBytes > inactive ? usageBytes - inactive : 0n,
    rssBytes: stat('total_rss') ?? 0n,
    cacheBytes: stat('total_cache') ?? 0n,
    pageFaults: stat('total_pgfault') ?? 0n,
    majorPageFaults: stat('total_pgmajfault') ?? 0n,
    limitBytes,
    // Not memory.memsw.usage_in_bytes less usage: they are read one after the other.
    swapUsageBytes: stat('total_swap'),
    swapLimitBytes: sumLimit === undefined || limitBytes === undefined ? undefined : sumLimit - limitBytes,
    oomKills: parseFlat(readings.get('memory.oom_control'))('oom_kill') ?? 0n,
    detail: parseDetail(readings, stat),
    psi: parsePsi(readings.get('memory.pressure')),
  };
}

function parseDetail(readings: Readings, stat: ReturnType<typeof parseFlat>): MemoryDetail | undefined {
  const limitHits = parseNumber(readings.get('memory.failcnt'));
  if (limitHits === undefined) return undefined;
  return {
    peakBytes: parseNumber(readings.get('memory.max_usage_in_bytes')) ?? 0n,
    // The limit of memory and swap together is the one that is hit where both are the same.
    limitHits: limitHits + (parseNumber(readings.get('memory.memsw.failcnt')) ?? 0n),
    kernelBytes: parseNumber(readings.get('memory.kmem.usage_in_bytes')) ?? 0n,
    mappedFileBytes: stat('total_mapped_file') ?? 0n,
    activeFileBytes: stat('total_active_file') ?? 0n,
    inactiveFileBytes: stat('total_inactive_file') ?? 0n,
  };
}

function limit(text: string | undefined): bigint | undefined {
  const bytes = parseNumber(text);
  return bytes === undefined || bytes >= UNLIMITED ? undefined : bytes;
}

function parsePids(readings: Readings): CgroupStats['pids'] {
  const current = parseNumber(readings.get('pids.current'));
  return current === undefined ? undefined : { current, limit: parseNumber(readings.get('pids.max')) };
}

/** Lines of "major:minor Operation count"; a last line "Total count" has no device. */
function parseIo(readings: Readings): CgroupStats['io'] {
  const bytes = readings.get('blkio.throttle.io_service_bytes_recursive');
  const psi = parsePsi(readings.get('io.pressure'));
  if (bytes === undefined) return psi && { entries: [], psi };
  const counts = new Map(
    ioLines(readings.get('blkio.throttle.io_serviced_recursive') ?? '').map((line) => [
      `${line.device} ${line.op}`,
      line.value,
    ]),
  );
  return {
    entries: ioLines(bytes).map(({ device, op, value }) => ({
      device,
      op,
      bytes: value,
      ops: counts.get(`${device} ${op}`) ?? 0n,
    })),
    psi,
  };
}

function ioLines(
  text: string,
): readonly { readonly device: string; readonly op: string; readonly value: bigint }[] {
  return [...text.matchAll(/^(\d+:\d+) (\w+) (\d+)$/gm)].map((match) => ({
    device: match[1] ?? '',
    op: match[2] ?? '',
    value: BigInt(match[3] ?? 0),
  }));
}
