import { readdir, readFile } from 'node:fs/promises';

/** What the kernel counts of the machine and its processes (man 5 proc). */

/** CPU time of the whole machine so far, idle and waiting left out. Milliseconds. */
export async function machineCpuMs(): Promise<number> {
  const line = (await readFile('/proc/stat', 'utf8')).split('\n')[0] ?? '';
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = line.split(/\s+/).map(Number);
  return (user + nice + system + irq + softirq) * MS_PER_TICK;
}

const MS_PER_TICK = 10;

/** CPU time of one process so far. Milliseconds. */
export async function processCpuMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * MS_PER_TICK;
}

export async function residentKib(pid: number): Promise<number> {
  return Number(/^VmRSS:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
}

/** What the runtimes start for a pod: monitors and pauses, shims and their helpers. */
const runtimeCommands = /^(podwright|containerd-shim|runc)/;

/** Proportional set size of the daemon and all it runs for pods, the pods' own commands left out. KiB. */
export async function runtimePssKib(daemon: number): Promise<number> {
  let sum = 0;
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const command = (await readFile(`/proc/${name}/comm`, 'utf8')).trim();
      if (Number(name) !== daemon && !runtimeCommands.test(command)) continue;
      sum += Number(/^Pss:\s+(\d+)/m.exec(await readFile(`/proc/${name}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
    } catch {
      // It has ended meanwhile, or is the kernel's.
    }
  }
  return sum;
}
