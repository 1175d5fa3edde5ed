import { readFiles } from '../../native/index.js';
import { nowNs } from '../base/clock.js';
import { hugePageFiles, hugePageSizes, parseHugePages } from './huge-pages.js';
import type { CgroupLayout } from './layout.js';
import { parseStatsV1, filesV1 } from './stats-v1.js';
import { parseStatsV2, filesV2 } from './stats-v2.js';
import type { CgroupStats, StatsExtent } from './types.js';

/** File name → content, for those that could be read. */
export type Readings = ReadonlyMap<string, string>;

/** A control file and the hierarchy that has it. */
export interface StatsFile {
  readonly mountpoint: string;
  readonly file: string;
}

/** Of either version. */
const briefFiles: ReadonlySet<string> = new Set([
  'cpuacct.usage',
  'memory.usage_in_bytes',
  'memory.limit_in_bytes',
  'memory.memsw.limit_in_bytes',
  'cpu.stat',
  'memory.current',
  'memory.max',
  'memory.swap.current',
  'memory.swap.max',
  'memory.stat',
  'cpu.pressure',
  'memory.pressure',
  'io.pressure',
]);

const podFiles: ReadonlySet<string> = new Set([...briefFiles, 'pids.current', 'pids.max']);

/** Reads the figures of many cgroups in one hop of the thread pool. */
export async function readStats(
  layout: CgroupLayout,
  paths: readonly string[],
  extent: StatsExtent,
): Promise<readonly (CgroupStats | undefined)[]> {
  const pageSizes = extent === 'full' ? await hugePageSizes() : [];
  const files = filesOf(layout, extent, pageSizes);
  const contents = await readFiles(
    paths.flatMap((cgroupPath) => files.map(({ mountpoint, file }) => `${mountpoint}${cgroupPath}/${file}`)),
  );
  const atNs = nowNs();
  return paths.map((_, index) => {
    const readings = new Map<string, string>();
    files.forEach(({ file }, offset) => {
      const content = contents[index * files.length + offset];
      if (typeof content === 'string') readings.set(file, content);
    });
    if (readings.size === 0) return undefined;
    const parse = layout.mode === 'v2' ? parseStatsV2 : parseStatsV1;
    return { ...parse(readings, atNs), hugetlb: parseHugePages(readings, pageSizes) };
  });
}

function filesOf(
  layout: CgroupLayout,
  extent: StatsExtent,
  pageSizes: readonly string[],
): readonly StatsFile[] {
  const all = layout.mode === 'v2' ? filesV2(layout) : filesV1(layout);
  if (extent === 'full') return [...all, ...hugePageFiles(layout, pageSizes)];
  const wanted = extent === 'pod' ? podFiles : briefFiles;
  return all.filter(({ file }) => wanted.has(file));
}
