import path from 'node:path';
import { readFiles } from '../../native/index.js';
import { nowNs } from '../base/clock.js';
import type { CgroupLayout } from './layout.js';
import { parseStatsV1, filesV1 } from './stats-v1.js';
import { parseStatsV2, filesV2 } from './stats-v2.js';
import type { CgroupStats } from './types.js';

/** File name → content, for those that could be read. */
export type Readings = ReadonlyMap<string, string>;

/** Reads the figures of many cgroups in one hop of the thread pool. */
export async function readStats(
  layout: CgroupLayout,
  paths: readonly string[],
): Promise<readonly (CgroupStats | undefined)[]> {
  const files = layout.mode === 'v2' ? filesV2(layout) : filesV1(layout);
  const all = paths.flatMap((cgroupPath) =>
    files.map(({ mountpoint, file }) => path.join(mountpoint, cgroupPath, file)),
  );
  const contents = await readFiles(all);
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
