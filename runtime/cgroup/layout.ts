import { readFile } from 'node:fs/promises';
import path from 'node:path';

/** How this host arranges its control groups, read once at start from /proc/self/mountinfo. */
export interface CgroupLayout {
  readonly mode: 'v1' | 'hybrid' | 'v2';
  /** The mounted v1 hierarchies, named ones (name=systemd) too. */
  readonly v1: readonly Hierarchy[];
  /** Where the unified tree is mounted; undefined on pure v1. */
  readonly unified: string | undefined;
  /** Controllers the unified tree offers. */
  readonly unifiedControllers: ReadonlySet<string>;
}

export interface Hierarchy {
  readonly mountpoint: string;
  /** "cpu", "cpuacct", …; a named hierarchy has "name=systemd" alone. */
  readonly controllers: readonly string[];
}

const v1Controllers = new Set([
  'cpu',
  'cpuacct',
  'cpuset',
  'memory',
  'devices',
  'freezer',
  'blkio',
  'pids',
  'hugetlb',
  'net_cls',
  'net_prio',
  'perf_event',
  'rdma',
  'misc',
]);

/** Parses mountinfo (man 5 proc): optional fields end at a lone "-", then type, source, super options. */
export function parseMountinfo(text: string): { v1: Hierarchy[]; unified: string | undefined } {
  const v1: Hierarchy[] = [];
  let unified: string | undefined;
  for (const line of text.split('\n')) {
    const [left, right] = line.split(' - ');
    const mountpoint = left?.split(' ')[4];
    const fields = right?.split(' ');
    if (mountpoint === undefined || fields === undefined) continue;
    const target = mountpoint.replace(/\\(\d{3})/g, (_, octal: string) =>
      String.fromCharCode(parseInt(octal, 8)),
    );
    if (fields[0] === 'cgroup2') unified ??= target;
    if (fields[0] !== 'cgroup') continue;
    const controllers = (fields[2] ?? '')
      .split(',')
      .filter((word) => v1Controllers.has(word) || word.startsWith('name='));
    const known = v1.some((hierarchy) => hierarchy.controllers.join() === controllers.join());
    if (controllers.length > 0 && !known) v1.push({ mountpoint: target, controllers });
  }
  return { v1, unified };
}

export async function detectLayout(): Promise<CgroupLayout> {
  const { v1, unified } = parseMountinfo(await readFile('/proc/self/mountinfo', 'utf8'));
  const unifiedControllers = new Set(
    unified === undefined
      ? []
      : (await readFile(path.join(unified, 'cgroup.controllers'), 'utf8'))
          .trim()
          .split(' ')
          .filter((name) => name !== ''),
  );
  const mode = unified === undefined ? 'v1' : v1.length === 0 ? 'v2' : 'hybrid';
  return { mode, v1, unified, unifiedControllers };
}

/** The hierarchy's directory of a controller, where it is mounted as v1. */
export function hierarchyOf(layout: CgroupLayout, controller: string): Hierarchy | undefined {
  return layout.v1.find((hierarchy) => hierarchy.controllers.includes(controller));
}
