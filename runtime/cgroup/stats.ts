import path from 'node:path';
import { readFiles } from '../../native/index.js';
import { nowNs } from '../base/clock.js';
import type { CgroupLayout } from './layout.js';
import { parseStatsV1, filesV1 } from './stats-v1.js';
import { parseStatsV2, filesV2 } from './stats-v2.js';
import type { CgroupStats, StatsExtent } from './types.js';

/** File name → content, for those that could be read. */
export type Readings = ReadonlyMap<string, string>;

/** Of either version. */
const briefFiles: ReadonlySet<string> = new Set([
  'cpuacct.usage',
  'memory.usage_in_bytes',
  'memory.limit_in_bytes',
  'memory.memsw.usage_in_bytes',
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

/** Reads the figures of many cgroups in one hop of the thread pool. */
export async function readStats(
  layout: CgroupLayout,
  paths: readonly string[],
  extent: StatsExtent,
): Promise<readonly (CgroupStats | undefined)[]> {
  const all = layout.mode === 'v2' ? filesV2(layout) : filesV1(layout);
  const files = extent === 'full' ? all : all.filter(({ file }) => briefFiles.has(file));
  const names = paths.flatMap((cgroupPath) =>
    files.map(({ mountpoint, file }) => path.join(mountpoint, cgroupPath, file)),
  );
  const contents = await readFiles(names);
  const atNs = nowNs();
  return paths.map((_, index) => {
    const readings = new Map<string, string>();
    files.forEach(({ file }, offset) => {
      const content = contents[index * files.length + offset];
      if (typeof content === 'string') readings.set(file, content);
    });
    if (readings.size === 0) return undefined;
    return layout.mode === 'v2' ? parseStatsV2(readings, atNs) : parseStatsV1(readings, atNs);
  });
}
