import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { mount, umount } from '../../native/index.js';
import { connectCri, type CriClient } from '../../e2e/cri-client.js';
import { cniBridge } from '../../e2e/fixtures/cni-bridge.js';
import { containerdTools, prepareContainerd } from '../../e2e/fixtures/containerd.js';
import { writeHostsDirectory } from '../../e2e/fixtures/hosts-directory.js';
import { BareClient } from './bare-client.js';
import { cache, cniPlugins, repository, tool } from '../../e2e/places.js';

/** A runtime under measurement, on directories of its own, reached by its CRI socket alone. */
export interface RuntimeUnderTest extends AsyncDisposable {
  readonly name: 'podwright' | 'containerd';
  readonly pid: number;
  readonly client: CriClient;
  /** For what is measured. */
  readonly bare: BareClient;
  readonly scratch: string;
  /** The networks of a pod that is not on the host's which this runtime offers. */
  readonly networks: readonly [Network, ...Network[]];
  useNetwork(kind: Network): Promise<void>;
}

type Network = 'builtin' | 'cni';

const START_TIMEOUT_MS = 30_000;
const MNT_DETACH = 2;

/** What dies with the boot is on a tmpfs on every node: both runtimes get one. */
async function mountState(scratch: string): Promise<void> {
  const state = path.join(scratch, 'state');
  await mkdir(state);
  mount('tmpfs', state, 'tmpfs', 0, 'mode=0711');
}

export async function startPodwright(registry: string): Promise<RuntimeUnderTest> {
  const scratch = await mkdtemp(path.join(tmpdir(), 'pwb-'));
  const hosts = path.join(scratch, 'certs.d');
  const cni = path.join(scratch, 'cni');
  await mkdir(cni);
  await mountState(scratch);
  await writeHostsDirectory(hosts, registry);
  const settings = {
    'cgroup.parent': '/podwright-bench',
    'network.builtin': 'true',
    'network.bridge': 'pwbench0',
    'network.pool': '["10.191.0.0/16"]',
    'network.conf_dir': cni,
    'network.bin_dirs': JSON.stringify([cniPlugins]),
    'registry.config_path': JSON.stringify([hosts]),
    'log.level': 'warn',
    'checkpoint.criu': tool('criu'),
  };
  const socket = path.join(scratch, 'cri.sock');
  const args = [
    'serve',
    '--root',
    path.join(scratch, 'root'),
    '--state',
    path.join(scratch, 'state'),
    '--socket',
    socket,
  ];
  for (const [key, value] of Object.entries(settings)) args.push('--set', `${key}=${value}`);
  const daemon = await start(path.join(repository, 'hack/podwright'), args, scratch);
  return underTest('podwright', { daemon, socket, scratch, cniDirectory: cni });
}

export async function startContainerd(registry: string): Promise<RuntimeUnderTest> {
  const scratch = await mkdtemp(path.join(tmpdir(), 'ctb-'));
  const cni = path.join(scratch, 'cni');
  await mountState(scratch);
  const pauseImage = 'docker.io/library/busybox:pause';
  const [program = '', ...args] = await prepareContainerd({ scratch, registry, pauseImage });
  const daemon = await start(program, args, scratch);
  const socket = path.join(scratch, 'cri.sock');
  return underTest('containerd', { daemon, socket, scratch, cniDirectory: cni });
}

async function start(program: string, args: readonly string[], scratch: string): Promise<ChildProcess> {
  const log = await open(path.join(scratch, 'daemon.log'), 'a');
  try {
    const PATH = `${containerdTools}:${path.join(cache, 'bin')}:${process.env['PATH'] ?? ''}`;
    const child = spawn(program, args, { stdio: ['ignore', log.fd, log.fd], env: { ...process.env, PATH } });
    await once(child, 'spawn');
    return child;
  } finally {
    await log.close();
  }
}

interface Started {
  readonly daemon: ChildProcess;
  readonly socket: string;
  readonly scratch: string;
  readonly cniDirectory: string;
}

async function underTest(
  name: RuntimeUnderTest['name'],
  { daemon, socket, scratch, cniDirectory }: Started,
): Promise<RuntimeUnderTest> {
  const client = connectCri(socket);
  await client.ready(START_TIMEOUT_MS);
  // containerd answers before its CRI plugin is up.
  await client.runtime.version({}, { timeoutMs: START_TIMEOUT_MS });
  const bare = new BareClient(socket);
  return {
    name,
    pid: daemon.pid ?? 0,
    client,
    bare,
    scratch,
    networks: name === 'podwright' ? ['builtin', 'cni'] : ['cni'],
    useNetwork: async (kind) => {
      const file = path.join(cniDirectory, '10-bench.conflist');
      if (kind === 'builtin') await rm(file, { force: true });
      else await writeFile(file, cniList(name, scratch));
      await networkReady(client);
    },
    [Symbol.asyncDispose]: async () => {
      await removeEverything(client);
      client.close();
      bare[Symbol.dispose]();
      daemon.kill('SIGTERM');
      if (daemon.exitCode === null) await once(daemon, 'exit');
      umount(path.join(scratch, 'state'), MNT_DETACH);
      await rm(scratch, { recursive: true, force: true });
    },
  };
}

function cniList(name: RuntimeUnderTest['name'], scratch: string): string {
  return name === 'podwright'
    ? cniBridge({ bridge: 'pwbcni0', subnet: '10.192.0.0/16', scratch })
    : cniBridge({ bridge: 'ctbcni0', subnet: '10.193.0.0/16', scratch });
}

/** Both runtimes notice a new configuration by inotify. */
async function networkReady(client: CriClient): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    const { status } = await client.runtime.status({});
    const network = status?.conditions.find((condition) => condition.type === 'NetworkReady');
    if (network?.status === true) return;
    if (performance.now() > deadline) throw new Error(`network not ready: ${network?.message ?? ''}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

export async function removeEverything(client: CriClient): Promise<void> {
  const { items } = await client.runtime.listPodSandbox({});
  for (const { id } of items) {
    await client.runtime.stopPodSandbox({ podSandboxId: id });
    await client.runtime.removePodSandbox({ podSandboxId: id });
  }
}
