import { readdir } from 'node:fs/promises';
import { hierarchyOf, type CgroupLayout } from './layout.js';
import { parseNumber } from './parse.js';
import type { Readings, StatsFile } from './stats.js';
import type { CgroupStats } from './types.js';

let sizes: Promise<readonly string[]> | undefined;

/** The sizes of huge pages this host has, as control files name them: 2MB, 1GB. */
export function hugePageSizes(): Promise<readonly string[]> {
  sizes ??= readdir('/sys/kernel/mm/hugepages').then(
    (names) => names.map((name) => sizeName(Number(/\d+/.exec(name)?.[0]))),
    () => [],
  );
  return sizes;
}

function sizeName(kib: number): string {
  if (kib >= 1 << 20) return `${kib >> 20}GB`;
  return kib >= 1 << 10 ? `${kib >> 10}MB` : `${kib}KB`;
}

/** Two files of each size where v1 limits huge pages, one where v2 does, which keeps no highest usage. */
export function hugePageFiles(layout: CgroupLayout, pageSizes: readonly string[]): readonly StatsFile[] {
  const mountpoint = hierarchyOf(layout, 'hugetlb')?.mountpoint;
  if (mountpoint !== undefined)
    return pageSizes.flatMap((size) => [
      { mountpoint, file: `hugetlb.${size}.usage_in_bytes` },
      { mountpoint, file: `hugetlb.${size}.max_usage_in_bytes` },
    ]);
  const { unified } = layout;
  if (unified === undefined || !layout.unifiedControllers.has('hugetlb')) return [];
  return pageSizes.map((size) => ({ mountpoint: unified, file: `hugetlb.${size}.current` }));
}

export function parseHugePages(readings: Readings, pageSizes: readonly string[]): CgroupStats['hugetlb'] {
  return pageSizes.flatMap((pageSize) => {
    const usageBytes = parseNumber(
      readings.get(`hugetlb.${pageSize}.usage_in_bytes`) ?? readings.get(`hugetlb.${pageSize}.current`),
    );
    const peakBytes = parseNumber(readings.get(`hugetlb.${pageSize}.max_usage_in_bytes`));
    return usageBytes === undefined ? [] : [{ pageSize, usageBytes, peakBytes }];
  });
}
