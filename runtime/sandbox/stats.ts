import path from 'node:path';
import { readFiles } from '../../native/index.js';
import { nowNs } from '../base/clock.js';
import type { CgroupStats } from '../cgroup/types.js';
import type { Sandboxes } from './service.js';
import type { InterfaceCounters, Sandbox, SandboxStats } from './types.js';

/** Figures of the sandboxes that exist: all cgroups in one hop, all interface counters in another. */
export async function sandboxStats(
  { deps, store }: Sandboxes,
  ids: readonly string[],
): Promise<readonly SandboxStats[]> {
  const sandboxes = ids.flatMap((id) => store.get(id)?.value ?? []);
  const atNs = nowNs();
  const [cgroups, interfaces] = await Promise.all([
    deps.cgroups.stats(sandboxes.map(podCgroup)),
    readInterfaces(sandboxes),
  ]);
  return sandboxes.map((sandbox, index) => ({
    sandbox,
    cgroup: cgroups[index] satisfies CgroupStats | undefined,
    interfaces: interfaces[index] ?? [],
    atNs,
  }));
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

/** man 5 proc_pid_net: two lines of heading, then `name: rx bytes packets errs drop … tx bytes packets errs drop …`. */
export function parseNetDev(table: string): readonly InterfaceCounters[] {
  return table
    .split('\n')
    .slice(2)
    .flatMap((line) => {
      const [name = '', counters = ''] = line.split(/:(.*)/s);
      const [rxBytes, , rxErrors, , , , , , txBytes, , txErrors] = counters.trim().split(/\s+/);
      if (name.trim() === 'lo' || rxBytes === undefined || txErrors === undefined) return [];
      return [
        {
          name: name.trim(),
          rxBytes: BigInt(rxBytes),
          rxErrors: BigInt(rxErrors ?? 0),
          txBytes: BigInt(txBytes ?? 0),
          txErrors: BigInt(txErrors),
        },
      ];
    });
}
