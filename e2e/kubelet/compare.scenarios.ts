import { access, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startDaemon } from '../daemon.js';
import { cniBridge } from '../fixtures/cni-bridge.js';
import { containerdProgram } from '../fixtures/containerd.js';
import { writeHostsDirectory } from '../fixtures/hosts-directory.js';
import { startImageServer, type ImageServer } from '../fixtures/image-server.js';
import { cgroupHierarchies } from '../instance.js';
import { nodeReady } from './cluster.js';
import { podSubnet, startContainerd } from './containerd.js';
import { startControlPlane } from './control-plane.js';
import { buildPause } from './images.js';
import { Kubelet, type NodeRuntime } from './kubelet.js';
import { makeKubectl, type Kubectl } from './kubectl.js';
import { serveImages, type Images } from './node.js';
import { controller } from './workloads.suite.js';

/** What one round took, from `kubectl apply` to the last pod's readiness. */
interface Round {
  readonly seconds: number;
  /** Processor time of the runtime, everything it starts, and the pods. */
  readonly runtimeMs: number;
  readonly kubeletMs: number;
}

interface Candidate {
  readonly name: string;
  start(server: ImageServer): Promise<Started>;
}

interface Started extends NodeRuntime {
  readonly scratch: string;
  readonly box: string;
  end(): Promise<void>;
}

const podCount = 30;
const rounds = 3;

const podwright = (network: 'built-in network' | 'CNI'): Candidate => ({
  name: `Podwright, ${network}`,
  start: async (server) => {
    const daemon = await startDaemon();
    const { scratch, cgroupParent, box } = daemon.instance;
    await writeHostsDirectory(daemon.hostsDirectory, server.host, []);
    if (network === 'CNI')
      await writeFile(
        path.join(daemon.cniDirectory, '10-bridge.conflist'),
        cniBridge({ bridge: 'pwc0', subnet: podSubnet, scratch }),
      );
    const end = (): Promise<void> => daemon.destroy();
    return { scratch, box, socket: daemon.socket, cgroupRoot: cgroupParent, end };
  },
});

/** Thirty pods at once, over each runtime in turn, in clusters that differ in nothing else. */
describe('a comparison', () => {
  let server: ImageServer;
  let images: Images;

  before(async function () {
    const built = await access(containerdProgram).then(
      () => true,
      () => false,
    );
    // Needs the tools of `npm run setup bench`, and cgroups that count processor time whatever the hierarchy.
    if (!built || !(await hasUnifiedHierarchy())) this.skip();
    server = await startImageServer();
    server.add('test/pause', '1', await buildPause());
    images = await serveImages(server);
  });
  after(async () => {
    await server?.stop();
  });

  it(`${podCount} pods from kubectl apply to Ready`, async function () {
    this.timeout(900_000);
    const candidates: readonly Candidate[] = [
      podwright('built-in network'),
      podwright('CNI'),
      { name: 'containerd + runc, CNI', start: (registry) => startContainerd(registry.host) },
    ];
    const results = new Map<string, Round>();
    for (const candidate of candidates) results.set(candidate.name, await measure(candidate, server, images));
    printTable(results);
  });
});

async function measure(candidate: Candidate, server: ImageServer, images: Images): Promise<Round> {
  const directory = await mkdtemp(path.join(tmpdir(), 'pw-cluster-'));
  const controlPlane = await startControlPlane(directory);
  const runtime = await candidate.start(server);
  const { kubeconfig, api } = controlPlane;
  try {
    const kubelet = await Kubelet.start({ runtime, directory: runtime.scratch, kubeconfig });
    try {
      await nodeReady(api);
      const kubectl = makeKubectl(kubeconfig);
      // The first one pulls the images.
      await oneRound({ kubectl, images, kubelet, runtime, replicas: 1 });
      const seen: Round[] = [];
      for (let round = 0; round < rounds; round++)
        seen.push(await oneRound({ kubectl, images, kubelet, runtime, replicas: podCount }));
      return {
        seconds: median(seen, 'seconds'),
        runtimeMs: median(seen, 'runtimeMs'),
        kubeletMs: median(seen, 'kubeletMs'),
      };
    } finally {
      await kubelet.end();
    }
  } finally {
    await controlPlane.end();
    await runtime.end();
    await rm(directory, { recursive: true, force: true });
  }
}

interface RoundOptions {
  readonly kubectl: Kubectl;
  readonly images: Images;
  readonly kubelet: Kubelet;
  readonly runtime: Started;
  readonly replicas: number;
}

async function oneRound({ kubectl, images, kubelet, runtime, replicas }: RoundOptions): Promise<Round> {
  const container = {
    ...{ name: 'main', image: images.busybox, command: ['sleep', '1000'] },
    readinessProbe: { exec: { command: ['true'] }, periodSeconds: 1 },
  };
  const burst = controller({ kind: 'Deployment', name: 'burst', replicas, containers: [container] });
  const before = await spent(kubelet, runtime);
  const begin = performance.now();
  await kubectl.run(['apply', '-f', '-'], JSON.stringify(burst));
  await kubectl.run(['rollout', 'status', 'deployment/burst', '--timeout=120s']);
  const seconds = (performance.now() - begin) / 1000;
  const after = await spent(kubelet, runtime);
  await kubectl.run(['delete', 'deployment/burst', '--cascade=foreground', '--timeout=120s']);
  return {
    seconds,
    runtimeMs: after.runtimeMs - before.runtimeMs,
    kubeletMs: after.kubeletMs - before.kubeletMs,
  };
}

async function spent(kubelet: Kubelet, { box, cgroupRoot }: Started): Promise<Omit<Round, 'seconds'>> {
  const [unified = ''] = await cgroupHierarchies();
  const cgroups = [box, path.join(unified, cgroupRoot)];
  const used = await Promise.all(cgroups.map(cgroupMs));
  return { runtimeMs: used.reduce((sum, ms) => sum + ms, 0), kubeletMs: await processMs(kubelet.pid) };
}

/** cgroup-v2.rst: cpu.stat is there without the controller, and counts what is below. */
async function cgroupMs(cgroup: string): Promise<number> {
  const text = await readFile(path.join(cgroup, 'cpu.stat'), 'utf8');
  return Number(/^usage_usec (\d+)$/m.exec(text)?.[1]) / 1000;
}

/** man 5 proc_pid_stat: user and system time, in hundredths of a second. */
async function processMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

async function hasUnifiedHierarchy(): Promise<boolean> {
  const [first = ''] = await cgroupHierarchies();
  return access(path.join(first, 'cgroup.controllers')).then(
    () => true,
    () => false,
  );
}

function median(seen: readonly Round[], field: keyof Round): number {
  const sorted = seen.map((round) => round[field]).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** The last one is what the others are compared with. */
function printTable(results: ReadonlyMap<string, Round>): void {
  const entries = [...results];
  const reference = entries.at(-1)?.[1];
  if (reference === undefined) return;
  const cell = (round: Round, field: keyof Round, digits: number): string =>
    `${round[field].toFixed(digits)} (${(round[field] / reference[field]).toFixed(2)})`.padStart(18);
  console.log(
    `      ${''.padEnd(30)}${'s to Ready'.padStart(18)}${'runtime CPU ms'.padStart(18)}${'kubelet CPU ms'.padStart(18)}`,
  );
  for (const [name, round] of entries)
    console.log(
      `      ${name.padEnd(30)}${cell(round, 'seconds', 2)}${cell(round, 'runtimeMs', 0)}${cell(round, 'kubeletMs', 0)}`,
    );
}
