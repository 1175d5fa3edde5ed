import { access, readFile } from 'node:fs/promises';
import path from 'node:path';
import type { ImageServer } from '../fixtures/image-server.js';
import { cgroupHierarchies } from '../instance.js';
import {
  type Candidate,
  type ComparedNode,
  type StartedRuntime,
  containerd,
  hasContainerd,
  podwright,
  startComparedImages,
  withCandidate,
} from './candidates.js';
import type { Kubelet } from './kubelet.js';
import type { Images } from './node.js';
import { controller } from './workloads.suite.js';

/** What one round took, from `kubectl apply` to the last pod's readiness. */
interface Round {
  readonly seconds: number;
  /** Processor time of the runtime, everything it starts, and the pods. */
  readonly runtimeMs: number;
  readonly kubeletMs: number;
}

const podCount = 30;
const rounds = 3;

/** Thirty pods at once, over each runtime in turn, in clusters that differ in nothing else. */
describe('a comparison', () => {
  let server: ImageServer;
  let images: Images;

  before(async function () {
    // Needs the tools of `npm run setup bench`, and cgroups that count processor time whatever the hierarchy.
    if (!(await hasContainerd()) || !(await hasUnifiedHierarchy())) this.skip();
    ({ server, images } = await startComparedImages());
  });
  after(async () => {
    await server?.stop();
  });

  it(`${podCount} pods from kubectl apply to Ready`, async function () {
    this.timeout(900_000);
    const results = new Map<string, Round>();
    for (const candidate of [podwright('built-in network'), podwright('CNI'), containerd])
      results.set(candidate.name, await measure(candidate, server, images));
    printTable(results);
  });
});

async function measure(candidate: Candidate, server: ImageServer, images: Images): Promise<Round> {
  return withCandidate({ candidate, server }, async (node) => {
    // The first one pulls the images.
    await oneRound({ ...node, images, replicas: 1 });
    const seen: Round[] = [];
    for (let round = 0; round < rounds; round++)
      seen.push(await oneRound({ ...node, images, replicas: podCount }));
    return {
      seconds: median(seen, 'seconds'),
      runtimeMs: median(seen, 'runtimeMs'),
      kubeletMs: median(seen, 'kubeletMs'),
    };
  });
}

interface RoundOptions extends ComparedNode {
  readonly images: Images;
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

async function spent(kubelet: Kubelet, { box, cgroupRoot }: StartedRuntime): Promise<Omit<Round, 'seconds'>> {
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
