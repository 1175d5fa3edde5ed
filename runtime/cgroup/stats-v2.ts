import type { CgroupLayout } from './layout.js';
import { parseFlat, parseNumber, parsePsi } from './parse.js';
import type { Readings, StatsFile } from './stats.js';
import type { CgroupStats, MemoryDetail } from './types.js';

const fileNames = [
  'cpu.stat',
  'cpu.pressure',
  'memory.current',
  'memory.stat',
  'memory.max',
  'memory.swap.current',
  'memory.swap.max',
  'memory.events',
  'memory.peak',
  'memory.pressure',
  'pids.current',
  'pids.max',
  'io.stat',
  'io.pressure',
] as const;

const NS_PER_US = 1000n;

export function filesV2(layout: CgroupLayout): readonly StatsFile[] {
  const mountpoint = layout.unified ?? '/';
  return fileNames.map((file) => ({ mountpoint, file }));
}

/** kernel: Documentation/admin-guide/cgroup-v2.rst */
export function parseStatsV2(readings: Readings, atNs: bigint): Omit<CgroupStats, 'hugetlb'> {
  const pids = parseNumber(readings.get('pids.current'));
  return {
    atNs,
    cpu: parseCpu(readings),
    memory: parseMemory(readings),
    pids: pids === undefined ? undefined : { current: pids, limit: parseNumber(readings.get('pids.max')) },
    io: parseIo(readings),
  };
}

function parseCpu(readings: Readings): CgroupStats['cpu'] {
  const stat = parseFlat(readings.get('cpu.stat'));
  const usageUs = stat('usage_usec');
  if (usageUs === undefined) return undefined;
  return {
    usageNs: usageUs * NS_PER_US,
    userNs: (stat('user_usec') ?? 0n) * NS_PER_US,
    kernelNs: (stat('system_usec') ?? 0n) * NS_PER_US,
    periods: stat('nr_periods') ?? 0n,
    throttledPeriods: stat('nr_throttled') ?? 0n,
    throttledNs: (stat('throttled_usec') ?? 0n) * NS_PER_US,
    psi: parsePsi(readings.get('cpu.pressure')),
  };
}

function parseMemory(readings: Readings): CgroupStats['memory'] {
  const usageBytes = parseNumber(readings.get('memory.current'));
  if (usageBytes === undefined) return undefined;
  const stat = parseFlat(readings.get('memory.stat'));
  const inactive = stat('inactive_file') ?? 0n;
  return {
    usageBytes,
    workingSetBytes: usageBytes > inactive ? usageBytes - inactive : 0n,
    rssBytes: stat('anon') ?? 0n,
    cacheBytes: stat('file') ?? 0n,
    pageFaults: stat('pgfault') ?? 0n,
    majorPageFaults: stat('pgmajfault') ?? 0n,
    limitBytes: parseNumber(readings.get('memory.max')),
    swapUsageBytes: parseNumber(readings.get('memory.swap.current')),
    swapLimitBytes: parseNumber(readings.get('memory.swap.max')),
    oomKills: parseFlat(readings.get('memory.events'))('oom_kill') ?? 0n,
    detail: parseDetail(readings, stat, usageBytes),
    psi: parsePsi(readings.get('memory.pressure')),
  };
}

/** memory.peak is there since Linux 5.19; before, what is used now is the most that is known. */
function parseDetail(
  readings: Readings,
  stat: ReturnType<typeof parseFlat>,
  usageBytes: bigint,
): MemoryDetail | undefined {
  const events = readings.get('memory.events');
  if (events === undefined) return undefined;
  return {
    peakBytes: parseNumber(readings.get('memory.peak')) ?? usageBytes,
    limitHits: parseFlat(events)('max') ?? 0n,
    kernelBytes: stat('kernel') ?? 0n,
    mappedFileBytes: stat('file_mapped') ?? 0n,
    activeFileBytes: stat('active_file') ?? 0n,
    inactiveFileBytes: stat('inactive_file') ?? 0n,
  };
}

/** Lines of "major:minor rbytes=… wbytes=… rios=… wios=… dbytes=… dios=…". */
function parseIo(readings: Readings): CgroupStats['io'] {
  const text = readings.get('io.stat');
  const psi = parsePsi(readings.get('io.pressure'));
  if (text === undefined) return psi && { entries: [], psi };
  const entries = text
    .split('\n')
    .filter((line) => line.includes(' '))
    .flatMap((line) => {
      const [device = '', ...pairs] = line.split(' ');
      const values = new Map(
        pairs.map((pair) => [pair.split('=')[0] ?? '', parseNumber(pair.split('=')[1]) ?? 0n]),
      );
      const entry = (op: string, letter: string) => ({
        device,
        op,
        bytes: values.get(`${letter}bytes`) ?? 0n,
        ops: values.get(`${letter}ios`) ?? 0n,
      });
      return [entry('Read', 'r'), entry('Write', 'w'), entry('Discard', 'd')];
    });
  return { entries, psi };
}
