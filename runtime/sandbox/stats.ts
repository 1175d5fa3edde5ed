import path from 'node:path';
import { readFiles } from '../../native/index.js';
import { nowNs } from '../base/clock.js';
import type { CgroupStats } from '../cgroup/types.js';
import type { Sandboxes } from './service.js';
import type { InterfaceCounters, Sandbox, SandboxInterfaces, SandboxStats } from './types.js';

/** Figures of the sandboxes that exist: all cgroups in one hop, all interface counters in another. */
export async function sandboxStats(
  { deps, store }: Sandboxes,
  ids: readonly string[],
): Promise<readonly SandboxStats[]> {
  const sandboxes = ids.flatMap((id) => store.get(id)?.value ?? []);
  const atNs = nowNs();
  const [cgroups, interfaces] = await Promise.all([
    deps.cgroups.stats(sandboxes.map(podCgroup), 'pod'),
    readInterfaces(sandboxes),
  ]);
  return sandboxes.map((sandbox, index) => ({
    sandbox,
    cgroup: cgroups[index] satisfies CgroupStats | undefined,
    interfaces: interfaces[index] ?? [],
    atNs,
  }));
}

/** The interface counters of the sandboxes that exist, in one hop. */
export async function sandboxInterfaces(
  { store }: Sandboxes,
  ids: readonly string[],
): Promise<readonly SandboxInterfaces[]> {
  const sandboxes = ids.flatMap((id) => store.get(id)?.value ?? []);
  const interfaces = await readInterfaces(sandboxes);
  return sandboxes.map((sandbox, index) => ({ sandbox, interfaces: interfaces[index] ?? [] }));
}

/** The cgroup of the whole pod is the one that its creator named as parent; without one there is only the sandbox' own. */
function podCgroup({ cgroupPath, request }: Sandbox): string {
  return request.cgroupParent === '' ? cgroupPath : path.posix.dirname(cgroupPath);
}

/** Of each sandbox with a network of its own. */
async function readInterfaces(
  sandboxes: readonly Sandbox[],
): Promise<readonly (readonly InterfaceCounters[])[]> {
  const tables = await readFiles(sandboxes.map(tableOf));
  return tables.map((table) => (typeof table === 'string' ? parseNetDev(table) : []));
}

/** Where the kernel shows them; an empty path cannot be read and gives none. */
function tableOf({ state, netnsPath }: Sandbox): string {
  return state.phase === 'ready' && netnsPath !== undefined ? `/proc/${state.pause.pid}/net/dev` : '';
}

/** man 5 proc_pid_net: two lines of heading, then `name:` and 16 counters, of which the first 8 are received. */
export function parseNetDev(table: string): readonly InterfaceCounters[] {
  return table
    .split('\n')
    .slice(2)
    .flatMap((line) => {
      const [name = '', columns = ''] = line.split(/:(.*)/s);
      const counters = columns.trim().split(/\s+/);
      if (name.trim() === 'lo' || counters.length < 16) return [];
      const at = (index: number): bigint => BigInt(counters[index] ?? 0);
      return [
        {
          name: name.trim(),
          rxBytes: at(0),
          rxPackets: at(1),
          rxErrors: at(2),
          rxDropped: at(3),
          txBytes: at(8),
          txPackets: at(9),
          txErrors: at(10),
          txDropped: at(11),
        },
      ];
    });
}
