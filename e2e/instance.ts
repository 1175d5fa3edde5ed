import { execFile } from 'node:child_process';
import { mkdir, readFile, readdir, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { instanceOf } from '../runtime/base/ids.js';

/** What one daemon of a test may own on this machine, known from outside: by the names it was told to use. */
export interface Instance {
  /** Directory that holds the daemon's root and state. */
  readonly scratch: string;
  readonly root: string;
  readonly state: string;
  /** Parent cgroup of its pods, `/podwright-e2e-…`. */
  readonly cgroupParent: string;
  /** Path of a cgroup that the daemon and everything it starts outside pods lives in. */
  readonly box: string;
  readonly bridge: string;
}

const run = promisify(execFile);

/** Mount points of every cgroup hierarchy; the unified one first, where there is one. */
export async function cgroupHierarchies(): Promise<readonly string[]> {
  const mounts = await mountLines();
  const of = (type: string): string[] =>
    mounts.filter((mount) => mount.type === type).map(({ point }) => point);
  return [...new Set([...of('cgroup2'), ...of('cgroup')])];
}

/** A cgroup to start a daemon in. */
export async function makeBox(name: string): Promise<string> {
  const [hierarchy] = await cgroupHierarchies();
  if (hierarchy === undefined) throw new Error('no cgroups are mounted');
  const box = path.join(hierarchy, name);
  await mkdir(box, { recursive: true });
  return box;
}

/**
 * Everything of the instance that is still there, one sentence each; a daemon that runs on is not counted, the empty
 * parent cgroup, the bridge and the directories are the instance's to keep.
 */
export async function leftovers(instance: Instance, daemon?: number): Promise<readonly string[]> {
  const found = await Promise.all([
    processes(instance).then((pids) =>
      Promise.all(pids.filter((pid) => pid !== daemon).map(describeProcess)),
    ),
    podCgroups(instance).then((cgroups) => cgroups.map((cgroup) => `cgroup ${cgroup}`)),
    mountsOf(instance).then((points) => points.map((point) => `mount ${point}`)),
    netnsOf(instance).then((names) => names.map((name) => `network namespace ${name}`)),
    entries(`/sys/class/net/${instance.bridge}/brif`).then((ports) =>
      ports.map((port) => `interface ${port}`),
    ),
    ...['root', 'state'].flatMap((top) =>
      ['pods', 'containers'].map(async (room) => {
        const directory = path.join(top === 'root' ? instance.root : instance.state, room);
        return (await entries(directory)).map((name) => `file ${path.join(directory, name)}`);
      }),
    ),
  ]);
  return found.flat();
}

/** Ends and removes whatever the instance still owns except its scratch directory. The daemon must have ended. */
export async function removeInstance(instance: Instance): Promise<void> {
  await killAll(instance);
  for (const point of (await mountsOf(instance)).toReversed()) await quietly('umount', ['-l', point]);
  for (const name of await netnsOf(instance)) await quietly('ip', ['netns', 'delete', name]);
  await quietly('ip', ['link', 'delete', instance.bridge]);
  for (const table of await nftTables(instance))
    await quietly('nft', ['delete', 'table', ...table.split(' ')]);
  for (const cgroup of await podCgroups(instance)) await rmdir(cgroup).catch(() => undefined);
  for (const hierarchy of await cgroupHierarchies())
    await rmdir(path.join(hierarchy, instance.cgroupParent)).catch(() => undefined);
  await rmdir(instance.box).catch(() => undefined);
}

/** Kills what lives in the instance's cgroups until nothing does: a process may fork while we read. */
async function killAll(instance: Instance): Promise<void> {
  const deadline = Date.now() + 5000;
  for (let pids = await processes(instance); pids.length > 0 && Date.now() < deadline;) {
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended by itself.
      }
    }
    pids = await processes(instance);
  }
}

async function processes(instance: Instance): Promise<readonly number[]> {
  const cgroups = [instance.box, ...(await podCgroups(instance))];
  const pids = await Promise.all(cgroups.map(async (cgroup) => lines(path.join(cgroup, 'cgroup.procs'))));
  return [...new Set(pids.flat().map(Number))].filter((pid) => pid > 0);
}

async function describeProcess(pid: number): Promise<string> {
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return `process ${pid} (${command.replaceAll('\0', ' ').trim()})`;
}

/** Cgroups below the parent in every hierarchy, the deepest first. */
async function podCgroups(instance: Instance): Promise<readonly string[]> {
  const found: string[] = [];
  for (const hierarchy of await cgroupHierarchies()) {
    const parent = path.join(hierarchy, instance.cgroupParent);
    const below = await readdir(parent, { recursive: true, withFileTypes: true }).catch(() => []);
    found.push(
      ...below.filter((entry) => entry.isDirectory()).map((entry) => path.join(entry.parentPath, entry.name)),
    );
  }
  return found.sort((a, b) => b.length - a.length);
}

async function mountsOf(instance: Instance): Promise<readonly string[]> {
  const points = (await mountLines()).map(({ point }) => point);
  return points.filter((point) => point.startsWith(`${instance.scratch}/`));
}

async function netnsOf(instance: Instance): Promise<readonly string[]> {
  const names = await entries('/run/netns');
  return names.filter((name) => name.includes(instanceOf(instance.root)));
}

/** Tables of the packet filter that carry the instance's digits, as `inet NAME`. */
async function nftTables(instance: Instance): Promise<readonly string[]> {
  const { stdout } = await run('nft', ['list', 'tables']).catch(() => ({ stdout: '' }));
  return stdout
    .split('\n')
    .map((line) => line.replace(/^table /, ''))
    .filter((table) => table.includes(instanceOf(instance.root)));
}

interface MountLine {
  readonly point: string;
  readonly type: string;
}

/** man 5 proc_pid_mountinfo: the mount point is the fifth field, the type follows the lone dash. */
async function mountLines(): Promise<readonly MountLine[]> {
  return (await lines('/proc/self/mountinfo')).map((line) => ({
    point: unescapeOctal(line.split(' ')[4] ?? ''),
    type: line.split(' - ')[1]?.split(' ')[0] ?? '',
  }));
}

function unescapeOctal(text: string): string {
  return text.replace(/\\(\d{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

async function lines(file: string): Promise<readonly string[]> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.split('\n').filter((line) => line !== '');
}

async function entries(directory: string): Promise<readonly string[]> {
  return readdir(directory).catch(() => []);
}

/** Cleaning up: what is gone already is fine. */
async function quietly(command: string, args: readonly string[]): Promise<void> {
  await run(command, args).catch(() => undefined);
}

/** Puts the caller of a shell command line into a cgroup: `sh -c ${enterBox} sh BOX COMMAND…`. */
export const enterBox = 'echo 0 >"$1/cgroup.procs" && shift && exec "$@"';
