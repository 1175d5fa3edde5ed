import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { cache } from '../places.js';
import { makeDisk } from './disk.js';
import { type Group, groups } from './groups.js';
import { runMachine } from './machine.js';

/**
 * Runs groups of tests in a virtual machine with cgroup v2, systemd and AppArmor, each in one that has just booted:
 *
 *     npm run e2e:vm                   all of groups.ts
 *     npm run e2e:vm -- critest cgroup
 *     npm run e2e:vm -- --bash 'cat /proc/self/attr/apparmor/current'
 */

/** The emulated processor against the machine's own. */
const slowness = process.env['PODWRIGHT_SLOWNESS'] ?? '10';
const bootSeconds = 60;

interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

async function main(args: readonly string[]): Promise<void> {
  const chosen = choose(args);
  const directory = path.join(cache, 'log/vm');
  await mkdir(directory, { recursive: true });
  const scratch = await mkdtemp(path.join(tmpdir(), 'pw-vm-'));
  const sum: Totals = { passed: 0, failed: 0, skipped: 0 };
  const table: string[] = [];
  try {
    for (const group of chosen) {
      console.log(`\n== ${group.name}: ${group.shows}`);
      const start = Date.now();
      const totals = await runGroup(group, path.join(scratch, 'disk'), path.join(directory, group.name));
      for (const key of ['passed', 'failed', 'skipped'] as const) sum[key] += totals[key];
      table.push(tableRow(group.name, (Date.now() - start) / 1000, totals));
    }
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  console.log(`\n${table.join('\n')}\n\n${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
  if (sum.failed > 0) process.exitCode = 1;
}

function choose(args: readonly string[]): readonly Group[] {
  const [first, command] = args;
  if (first === '--bash' && command !== undefined)
    return [{ name: 'bash', shows: command, command, limitSeconds: 600 }];
  if (args.length === 0) return groups;
  return args.map((name) => {
    const group = groups.find((each) => each.name === name);
    if (group === undefined)
      throw new Error(`no such group: ${name} (${groups.map((each) => each.name).join(', ')})`);
    return group;
  });
}

async function runGroup(group: Group, disk: string, directory: string): Promise<Totals> {
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  const seconds = group.limitSeconds * Number(slowness);
  await makeDisk(disk, jobOf(group, seconds));
  const totals: Totals = { passed: 0, failed: 0, skipped: 0 };
  let status: number | undefined;
  await runMachine({
    disk,
    directory,
    limitMs: (bootSeconds + seconds) * 1000,
    onLine: (line) => {
      const [, passed, failed, skipped] = /^(\d+) passed, (\d+) failed, (\d+) skipped$/.exec(line) ?? [];
      if (passed === undefined) console.log(line);
      totals.passed += Number(passed ?? 0);
      totals.failed += Number(failed ?? 0);
      totals.skipped += Number(skipped ?? 0);
      const ended = /^== ended with (\d+)$/.exec(line);
      if (ended !== null) status = Number(ended[1]);
    },
  });
  // A job that ended badly without a failed test, or never ended, counts as one.
  if (status !== 0 && totals.failed === 0) totals.failed = 1;
  return totals;
}

function jobOf({ command }: Group, seconds: number): string {
  return [
    `export PODWRIGHT_SLOWNESS=${slowness}`,
    `timeout --foreground ${seconds} bash -c ${quoted(command)}`,
    '',
  ].join('\n');
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function tableRow(name: string, seconds: number, { passed, failed, skipped }: Totals): string {
  const figures = [`${passed} passed`, `${failed} failed`, `${skipped} skipped`].map((text) =>
    text.padStart(14),
  );
  return `  ${name.padEnd(18)}${seconds.toFixed(0).padStart(6)} s${figures.join('')}`;
}

await main(process.argv.slice(2));
