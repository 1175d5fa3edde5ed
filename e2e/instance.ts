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

/** What the instance has on this machine, wherever its names lead to. */
export interface Possessions {
  /** Processes of the box: the daemon, monitors, whatever was started on the way. */
  readonly box: readonly number[];
  /** Processes of its pods. */
  readonly pods: readonly number[];
  /** Below its parent cgroup in every hierarchy, the deepest first. */
  readonly cgroups: readonly string[];
  readonly mounts: readonly string[];
  /** Names in /run/netns. */
  readonly namespaces: readonly string[];
  readonly interfaces: readonly string[];
  /** Host ports that lead to pods, as nft writes them: `tcp . 8080 : 10.1.2.3 . 80`. */
  readonly forwardedPorts: readonly string[];
  /** What is written under another name first, or only exists while something is under way. */
  readonly unfinishedFiles: readonly string[];
  /** Entries of the directories of pods and containers. */
  readonly files: readonly string[];
}

export async function possessions(instance: Instance): Promise<Possessions> {
  const cgroups = await podCgroups(instance);
  const files = ['pods', 'containers']
    .flatMap((room) => [path.join(instance.root, room), path.join(instance.state, room)])
    .map(async (room) => (await entries(room)).map((name) => path.join(room, name)));
  return {
    box: await processesOf([instance.box]),
    pods: await processesOf(cgroups),
    cgroups,
    mounts: await mountsOf(instance),
    namespaces: await netnsOf(instance),
    interfaces: await interfacesOf(instance),
    forwardedPorts: await forwardedPorts(instance),
    unfinishedFiles: await unfinishedFiles(instance),
    files: (await Promise.all(files)).flat(),
  };
}

/**
 * Everything of the instance that is still there, one sentence each; a daemon that runs on is not counted, the empty
 * parent cgroup, the bridge and the directories are the instance's to keep.
 */
export async function leftovers(instance: Instance, daemon?: number): Promise<readonly string[]> {
  const found = await possessions(instance);
  const processes = [...found.box, ...found.pods].filter((pid) => pid !== daemon);
  return [
    ...(await Promise.all(processes.map(describeProcess))),
    ...found.cgroups.map((cgroup) => `cgroup ${cgroup}`),
    ...found.mounts.map((mount) => `mount ${mount}`),
    ...found.namespaces.map((name) => `network namespace ${name}`),
    ...found.interfaces.map((name) => `interface ${name}`),
    ...found.forwardedPorts.map((port) => `forwarded port ${port}`),
    ...found.unfinishedFiles.map((file) => `unfinished file ${file}`),
    ...found.files.map((file) => `file ${file}`),
  ];
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
  return processesOf([instance.box, ...(await podCgroups(instance))]);
}

async function processesOf(cgroups: readonly string[]): Promise<readonly number[]> {
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

/** The host's ends of pods' interfaces: they carry the first digits of the instance; or are ports of its bridge. */
async function interfacesOf({ root, bridge }: Instance): Promise<readonly string[]> {
  const named = (await entries('/sys/class/net')).filter((name) =>
    name.startsWith(`pw${instanceOf(root).slice(0, 4)}`),
  );
  return [...new Set([...named, ...(await entries(`/sys/class/net/${bridge}/brif`))])];
}

async function forwardedPorts(instance: Instance): Promise<readonly string[]> {
  const found: string[] = [];
  for (const table of await nftTables(instance)) {
    const { stdout } = await run('nft', ['list', 'table', ...table.split(' ')]).catch(() => ({ stdout: '' }));
    for (const [, elements = ''] of stdout.matchAll(/elements = \{([^}]*)\}/g))
      found.push(...elements.split(',').map((element) => element.trim().replaceAll(/\s+/g, ' ')));
  }
  return found;
}

async function unfinishedFiles({ root, state }: Instance): Promise<readonly string[]> {
  const rooms = ['images/ingest', 'ingest'].map((room) => path.join(root, room));
  const unfinished = await Promise.all(
    [...rooms, path.join(state, 'checkpoints')].map(async (room) =>
      (await entries(room)).map((name) => path.join(room, name)),
    ),
  );
  // Part of a blob: the next pull continues it, and a day later it is dropped.
  const kept = /\/images\/ingest\/sha256-[0-9a-f]{64}\.partial$/;
  const layers = path.join(root, 'layers');
  const halfLayers = (await entries(layers)).map(async (name) => {
    const whole = (await entries(path.join(layers, name))).includes('layer.json');
    return whole || name === '0' ? [] : [path.join(layers, name)];
  });
  return [...unfinished, ...(await Promise.all(halfLayers))].flat().filter((file) => !kept.test(file));
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
