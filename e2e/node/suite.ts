import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, readFile, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { readReport, type SpecResult } from '../critest-report.js';
import { cgroupHierarchies } from '../instance.js';
import { kubernetesTool, nodeAddress, nodeName } from '../kubelet/places.js';
import { repository } from '../places.js';

/** Where the suite runs, and over what. It brings its own API server and starts the kubelet itself. */
export interface Bed {
  readonly scratch: string;
  readonly socket: string;
  /** The runtime's cgroup in one hierarchy. */
  readonly box: string;
  /** Where reports go, and the logs of all that the suite starts. */
  readonly artifacts: string;
}

/** Specs that run under the same circumstances. */
export interface Part {
  readonly name: string;
  readonly processes: string;
  /** Regular expressions. */
  readonly focus: readonly string[];
  readonly skip: readonly string[];
}

export async function prepareBed({ scratch, box }: Bed): Promise<void> {
  await spreadBox(box);
  const inScratch = (name: string): string => path.join(scratch, name);
  // The suite writes its files into the directory of its program, where it also finds the kubelet.
  for (const name of ['e2e_node.test', 'kubelet']) await symlink(kubernetesTool(name), inScratch(name));
  for (const name of ['bin', 'systemd']) await mkdir(inScratch(name));
  for (const name of ['sudo', 'systemctl', 'systemd-run'])
    await symlink(path.join(repository, 'hack/node-systemd.sh'), inScratch(`bin/${name}`));
  await writeFile(inScratch('resolv.conf'), 'nameserver 127.0.0.53\nsearch example.test\n');
  await writeFile(inScratch('system.json'), JSON.stringify(systemSpec));
  await writeFile(inScratch('kubelet-base.json'), JSON.stringify(kubeletConfiguration(scratch)));
}

/** Puts what lives in the box into a cgroup of its name in every other hierarchy: the kubelet tells what the runtime needs. */
async function spreadBox(box: string): Promise<void> {
  const processes = (await readFile(path.join(box, 'cgroup.procs'), 'utf8')).split('\n').filter(Boolean);
  for (const hierarchy of await cgroupHierarchies()) {
    const cgroup = path.join(hierarchy, path.basename(box));
    if (cgroup === box) continue;
    await mkdir(cgroup);
    for (const name of ['cpuset.cpus', 'cpuset.mems']) {
      const whole = await readFile(path.join(hierarchy, name), 'utf8').catch(() => undefined);
      if (whole !== undefined) await writeFile(path.join(cgroup, name), whole);
    }
    for (const pid of processes) await writeFile(path.join(cgroup, 'cgroup.procs'), pid);
  }
}

/** Runs the specs of a part; its report and logs go to a directory of its name. */
export async function runPart(part: Part, bed: Bed): Promise<readonly SpecResult[]> {
  const artifacts = path.join(bed.artifacts, part.name);
  await mkdir(artifacts, { recursive: true });
  const log = path.join(artifacts, 'suite.log');
  console.log(`the suite's own output, ${part.name}: ${log}`);
  await ginkgo(bed.scratch, log, [
    ...['run', '--nodes', part.processes, '--timeout', '3h', '--no-color', '-v'],
    ...part.focus.flatMap((focus) => ['--focus', focus]),
    ...part.skip.flatMap((skip) => ['--skip', skip]),
    ...['--output-dir', artifacts, '--json-report', 'report.json', './e2e_node.test'],
    '--',
    ...suiteArguments(bed, artifacts),
  ]);
  return readReport(path.join(artifacts, 'report.json'));
}

function suiteArguments({ scratch, socket, box }: Bed, artifacts: string): readonly string[] {
  const domain = 'cluster.local';
  // Whoever answers at --containerd tells cAdvisor which cgroup is whose.
  const kubeletFlags = [
    ...['--containerd', socket, '--runtime-cgroups', `/${path.basename(box)}`],
    ...['--node-ip', nodeAddress, '--cluster-domain', domain],
  ];
  return [
    ...['--container-runtime-endpoint', `unix://${socket}`, '--prepull-images=false'],
    ...['--k8s-bin-dir', scratch, '--kubelet-config-file', path.join(scratch, 'kubelet-base.json')],
    ...['--kubelet-flags', kubeletFlags.join(' '), '--dns-domain', domain],
    ...['--system-spec-file', path.join(scratch, 'system.json')],
    ...['--node-name', nodeName, '--report-dir', artifacts],
  ];
}

/** What the suite asks of the machine before it starts; its own list wants the file of a kernel's configuration. */
const systemSpec = {
  os: 'Linux',
  kernelSpec: { versions: [String.raw`^[5-9]\.|^\d\d+\.`] },
  cgroups: ['cpu', 'cpuacct', 'cpuset', 'devices', 'freezer', 'memory', 'pids'],
  cgroupsV2: ['cpu', 'cpuset', 'devices', 'freezer', 'memory', 'pids'],
};

/** The suite's own default-kubelet-config.yaml, and what a machine for tests may lack, or must not change. */
function kubeletConfiguration(scratch: string): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    cgroupDriver: 'cgroupfs',
    cgroupRoot: '/',
    systemCgroups: '/system',
    podCIDR: '10.100.0.0/24',
    volumeStatsAggPeriod: '10s',
    fileCheckFrequency: '10s',
    evictionPressureTransitionPeriod: '30s',
    evictionHard: { 'memory.available': '1%', 'nodefs.available': '1%', 'imagefs.available': '1%' },
    imageGCHighThresholdPercent: 99,
    imageGCLowThresholdPercent: 98,
    serializeImagePulls: false,
    resolvConf: path.join(scratch, 'resolv.conf'),
    failCgroupV1: false,
    failSwapOn: false,
    oomScoreAdj: 0,
    makeIPTablesUtilChains: false,
  };
}

/** Its exit code says no more than the report, unless there is none. */
async function ginkgo(scratch: string, log: string, args: readonly string[]): Promise<void> {
  const output = await open(log, 'w');
  const child = spawn(kubernetesTool('ginkgo'), args, {
    cwd: scratch,
    env: {
      ...process.env,
      PATH: `${path.join(scratch, 'bin')}:${process.env['PATH'] ?? ''}`,
      SYSTEMD_STANDIN: path.join(scratch, 'systemd'),
    },
    stdio: ['ignore', output.fd, output.fd],
  });
  await output.close();
  await once(child, 'exit');
}
