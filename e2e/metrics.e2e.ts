import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { Client, type ServiceError, credentials, status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { ContainersService } from '../protos/gen/containerd/services/containers/v1/containers.js';
import { TasksService } from '../protos/gen/containerd/services/tasks/v1/tasks.js';
import { VersionService } from '../protos/gen/containerd/services/version/v1/version.js';
import { Status } from '../protos/gen/containerd/v1/types/task.js';
import type { Metric, PodSandboxMetrics } from '../protos/gen/cri/runtime/v1/api.js';
import {
  type Bed,
  type ContainerConfig,
  type Pod,
  type Workload,
  containerConfig,
  exec,
  infoOf,
  openBed,
  patienceMs,
  pidOf,
  runContainer,
  runPod,
} from './bed.js';
import { eventually } from './eventually.js';

const MiB = 1n << 20n;
const command = promisify(execFile);

/** Figures of the kernel, in the CRI's words and in cAdvisor's, of containers that work. */
describe('metrics', () => {
  let bed: Bed;
  let pod: Pod;
  let directory: string;
  let socketPath: string;

  before(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'pw-metrics-'));
    socketPath = path.join(directory, 'metrics.sock');
    bed = await openBed({ settings: { 'metrics.address': `unix:${socketPath}` } });
    pod = await runPod(bed, 'pod', {
      labels: { 'io.kubernetes.pod.name': 'pod', 'io.kubernetes.pod.namespace': 'e2e' },
    });
  });
  after(async () => {
    await bed?.end();
    await rm(directory, { recursive: true, force: true });
  });

  const run = (name: string, script: string, more: ContainerConfig = {}): Promise<Workload> =>
    runContainer(bed, pod, containerConfig(bed, name, script, more));

  const podMetrics = async (): Promise<PodSandboxMetrics> => {
    const { podMetrics: all } = await bed.daemon.client.runtime.listPodSandboxMetrics({});
    const found = all.find(({ podSandboxId }) => podSandboxId === pod.id);
    return found ?? expect.fail('the pod has no metrics');
  };

  /** The samples of a container, or of the pod itself, by name and own labels. */
  const samplesOf = async (id: string): Promise<ReadonlyMap<string, bigint>> => {
    const { metrics, containerMetrics } = await podMetrics();
    const own = containerMetrics.find(({ containerId }) => containerId === id)?.metrics ?? [];
    return new Map(
      (id === pod.id ? metrics : own).map(({ name, labelValues, value }) => [
        [name, ...labelValues.slice(6)].join(' '),
        value?.value ?? 0n,
      ]),
    );
  };

  const sampleOf = async (id: string, name: string): Promise<bigint> => {
    const samples = await samplesOf(id);
    return samples.get(name) ?? expect.fail(`no ${name} among ${[...samples.keys()].join(', ')}`);
  };

  const statsOf = async (containerId: string) =>
    (await bed.daemon.client.runtime.containerStats({ containerId })).stats;

  it('grow with the CPU that is burned', async () => {
    const { id } = await run('cpu', 'exec sleep 1000', {
      linux: { resources: { cpuPeriod: 10_000n, cpuQuota: 9_000n } },
    });
    const before = await statsOf(id);
    const burn = 'end=$(($(date +%s) + 4)); while [ $(date +%s) -lt $end ]; do :; done';
    expect((await exec(bed, id, burn)).exitCode).to.equal(0);
    const after = await statsOf(id);
    const burnt =
      (after?.cpu?.usageCoreNanoSeconds?.value ?? 0n) - (before?.cpu?.usageCoreNanoSeconds?.value ?? 0n);
    expect(Number(burnt)).to.be.above(1e9);
    expect(Number(after?.cpu?.usageNanoCores?.value)).to.be.within(1e8, 1e9);
    expect(Number(await sampleOf(id, 'container_cpu_usage_seconds_total total'))).to.be.at.least(1);
    expect(Number(await sampleOf(id, 'container_cpu_cfs_periods_total'))).to.be.above(10);
    expect(Number(await sampleOf(id, 'container_spec_cpu_quota'))).to.equal(9000);
  });

  it('grow with the memory that is touched', async () => {
    const script = '(head -c 40000000 /dev/zero; sleep 1000) | tail -c 30000000';
    const { id } = await run('memory', script, { linux: { resources: { memoryLimitInBytes: 192n * MiB } } });
    const rss = () => sampleOf(id, 'container_memory_rss');
    expect(Number(await eventually(rss, (bytes) => bytes > 29_000_000n, patienceMs))).to.be.above(29_000_000);
    for (const name of ['usage_bytes', 'working_set_bytes', 'max_usage_bytes'])
      expect(Number(await sampleOf(id, `container_memory_${name}`)), name).to.be.above(24_000_000);
    expect(Number(await sampleOf(id, 'container_memory_failures_total pgfault container'))).to.be.above(1000);
    expect(await sampleOf(id, 'container_spec_memory_limit_bytes')).to.equal(192n * MiB);
    const { memory, swap } = (await statsOf(id)) ?? {};
    expect(Number(memory?.rssBytes?.value)).to.be.above(24_000_000);
    expect(Number(memory?.availableBytes?.value)).to.be.below(Number(168n * MiB));
    expect(swap?.swapUsageBytes?.value).to.equal(0n);
  });

  it('count what is killed for want of memory', async () => {
    const { id } = await run('oom', 'exec sleep 1000', {
      linux: { resources: { memoryLimitInBytes: 32n * MiB } },
    });
    expect(await sampleOf(id, 'container_oom_events_total')).to.equal(0n);
    expect((await exec(bed, id, ['tail', '/dev/zero'])).exitCode).to.equal(137);
    expect(Number(await sampleOf(id, 'container_oom_events_total'))).to.be.at.least(1);
  });

  it('grow with the bytes that are written', async () => {
    const { id } = await run('disk', 'exec sleep 1000');
    const write = 'dd if=/dev/urandom of=/file bs=1M count=8 conv=fsync';
    expect((await exec(bed, id, write)).exitCode).to.equal(0);
    const samples = await samplesOf(id);
    const usage = [...samples].find(([name]) => name.startsWith('container_fs_usage_bytes /dev/'));
    expect(Number(usage?.[1])).to.be.within(Number(8n * MiB), Number(9n * MiB));
    const device = usage?.[0].split(' ')[1] ?? '';
    expect(Number(samples.get(`container_fs_limit_bytes ${device}`))).to.be.above(Number(64n * MiB));
    expect(samples.get(`container_fs_inodes_total ${device}`)).to.be.a('bigint');
    const { writableLayer } = (await statsOf(id)) ?? {};
    expect(writableLayer?.usedBytes?.value).to.equal(usage?.[1]);
    // A file system in memory, or one whose device no cgroup sees, has no such figures.
    const written = [...samples].filter(([name]) => name.startsWith('container_fs_writes_bytes_total '));
    if (written.length > 0) {
      expect(Number(written.reduce((sum, [, value]) => sum + value, 0n))).to.be.at.least(Number(8n * MiB));
      expect(written[0]?.[0]).to.match(/ \/dev\//);
    }
  });

  it('grow with what is sent, on every interface', async function () {
    const { id } = await run('network', 'exec sleep 1000');
    const before = await sampleOf(pod.id, 'container_network_transmit_bytes_total eth0');
    const gateway = "$(ip route | awk '/default/ { print $3 }')";
    await exec(bed, id, `head -c 20000 /dev/zero | nc -u -w 1 ${gateway} 9; ping -c 2 -s 1000 ${gateway}`);
    const samples = await samplesOf(pod.id);
    expect(Number((samples.get('container_network_transmit_bytes_total eth0') ?? 0n) - before)).to.be.above(
      2000,
    );
    for (const direction of ['receive', 'transmit'])
      for (const name of ['bytes_total', 'packets_total', 'packets_dropped_total', 'errors_total'])
        expect(samples.has(`container_network_${direction}_${name} eth0`), `${direction} ${name}`).to.equal(
          true,
        );
    const { stats } = await bed.daemon.client.runtime.podSandboxStats({ podSandboxId: pod.id });
    expect(stats?.linux?.network?.defaultInterface?.name).to.equal('eth0');
    expect(Number(stats?.linux?.network?.defaultInterface?.txBytes?.value)).to.be.above(2000);
  });

  it('show interfaces besides the default one', async () => {
    const { id } = await run('interfaces', 'exec sleep 1000');
    const netns = `/proc/${await pidOf(bed, id)}/ns/net`;
    await command('nsenter', [
      `--net=${netns}`,
      ...['ip', 'link', 'add', 'other0', 'type', 'veth', 'peer', 'name', 'other1'],
    ]);
    const { stats } = await bed.daemon.client.runtime.podSandboxStats({ podSandboxId: pod.id });
    expect(stats?.linux?.network?.defaultInterface?.name).to.equal('eth0');
    const others = stats?.linux?.network?.interfaces.map(({ name }) => name);
    expect(others).to.have.members(['other0', 'other1']);
    expect(await sampleOf(pod.id, 'container_network_receive_errors_total other0')).to.equal(0n);
  });

  it('show processes, descriptors, sockets and limits', async () => {
    const { id } = await run('processes', 'nc -l -p 99 & sleep 1000 & exec sleep 1000');
    const samples = await eventually(
      () => samplesOf(id),
      (seen) => (seen.get('container_sockets') ?? 0n) > 0n && seen.get('container_processes') === 3n,
      patienceMs,
    );
    expect(samples.get('container_processes')).to.equal(3n);
    expect(samples.get('container_threads')).to.equal(3n);
    expect(Number(samples.get('container_file_descriptors'))).to.be.at.least(9);
    expect(samples.get('container_ulimits_soft max_open_files')).to.equal(1024n);
    expect(Number(samples.get('container_start_time_seconds'))).to.be.closeTo(Date.now() / 1000, 60);
    expect(Number(samples.get('container_last_seen'))).to.be.closeTo(Date.now() / 1000, 60);
    const { stats } = await bed.daemon.client.runtime.podSandboxStats({ podSandboxId: pod.id });
    expect(Number(stats?.linux?.process?.processCount?.value)).to.be.above(3);
  });

  it('have the pressure of a kernel that measures it', async function () {
    const { id } = await run('pressure', 'exec sleep 1000');
    const { cpu, memory, io } = (await statsOf(id)) ?? {};
    if (cpu?.psi === undefined) return this.skip();
    expect([memory?.psi?.Some?.Total, io?.psi?.Some?.Total]).to.not.include(undefined);
    const samples = await samplesOf(id);
    for (const resource of ['cpu', 'memory', 'io'])
      for (const kind of ['waiting', 'stalled'])
        expect(samples.has(`container_pressure_${resource}_${kind}_seconds_total`)).to.equal(true);
  });

  it('have every family that is described, with as many labels, in list and stream alike', async () => {
    const { runtime } = bed.daemon.client;
    const { id } = await run('families', 'exec sleep 1000', {
      linux: { resources: { cpuPeriod: 100_000n, cpuQuota: 20_000n } },
    });
    await exec(bed, id, 'dd if=/dev/urandom of=/file bs=64k count=1 conv=fsync');
    const { descriptors } = await runtime.listMetricDescriptors({});
    const keys = new Map(descriptors.map(({ name, labelKeys }) => [name, labelKeys]));
    const { metrics, containerMetrics } = await podMetrics();
    const own = containerMetrics.find(({ containerId }) => containerId === id)?.metrics ?? [];
    const found = new Set<string>();
    for (const { name, labelValues, timestamp } of [...metrics, ...own]) {
      expect(labelValues.length, name).to.equal(keys.get(name)?.length);
      expect(timestamp, name).to.equal(0n);
      found.add(name);
    }
    // What hardware and kernel may not have: huge pages, pressure, a device under the file system.
    const optional = /^container_(hugetlb_|pressure_|fs_(reads|writes)|blkio_)/;
    expect([...keys.keys()].filter((name) => !found.has(name) && !optional.test(name))).to.deep.equal([]);

    const streamed: PodSandboxMetrics[] = [];
    for await (const { podSandboxMetrics } of runtime.streamPodSandboxMetrics({}))
      streamed.push(...podSandboxMetrics);
    const again = streamed.find(({ podSandboxId }) => podSandboxId === pod.id);
    expect(again?.containerMetrics.map(({ containerId }) => containerId)).to.deep.equal(
      containerMetrics.map(({ containerId }) => containerId),
    );
    expect(labelsOf(again?.metrics[0], keys)).to.include({ namespace: 'e2e', pod: 'pod', container: '' });
    expect(labelsOf(own[0], keys)).to.include({
      name: id,
      image: bed.image,
      container: 'families',
      namespace: 'e2e',
      pod: 'pod',
    });
  });

  it('leave out what has ended', async () => {
    const { id } = await run('ended', 'exec sleep 1000');
    await bed.daemon.client.runtime.stopContainer({ containerId: id });
    expect([...(await samplesOf(id))]).to.deep.equal([]);
  });

  it('get their names in cAdvisor, which asks on the same socket', async () => {
    const { id } = await run('named', 'exec sleep 1000', {
      labels: { 'io.kubernetes.container.name': 'named' },
    });
    const client = new Client(`unix:${bed.daemon.socket}`, credentials.createInsecure());
    try {
      expect((await ask(client, VersionService.version, {})).version).to.not.equal('');
      const container = (await ask(client, ContainersService.get, { id })).container;
      expect(container?.labels).to.include({
        'io.kubernetes.container.name': 'named',
        'io.cri-containerd.kind': 'container',
      });
      const sandbox = (await ask(client, ContainersService.get, { id: pod.id })).container;
      expect(sandbox?.labels).to.include({
        'io.kubernetes.pod.name': 'pod',
        'io.cri-containerd.kind': 'sandbox',
      });
      const { process } = await ask(client, TasksService.get, { containerId: id, execId: '' });
      expect(process).to.include({ pid: Number((await infoOf(bed, id))['pid']), status: Status.RUNNING });
      const pause = (await ask(client, TasksService.get, { containerId: pod.id, execId: '' })).process;
      expect(pause?.pid).to.be.above(1);
      const listing = ask(client, { ...ContainersService.get, path: listContainersPath }, { id: '' });
      const refused = await listing.catch((error: unknown) => error as ServiceError);
      expect(refused).to.have.property('code', status.UNIMPLEMENTED);
    } finally {
      client.close();
    }
  });

  it('tell Prometheus what the daemon does', async () => {
    const page = await scrape(socketPath);
    const value = (name: string): number =>
      Number(
        page
          .split('\n')
          .find((line) => line.startsWith(`${name} `))
          ?.slice(name.length + 1),
      );
    const calls = 'service="runtime.v1.RuntimeService",rpc="CreateContainer"';
    const running = value('podwright_containers{state="running"}');
    expect(running).to.be.above(5);
    expect(value('podwright_monitors')).to.equal(running);
    expect(value('podwright_sandboxes{state="ready"}')).to.equal(1);
    expect(value(`podwright_rpcs_total{${calls},code="OK"}`)).to.be.at.least(running);
    expect(value(`podwright_rpc_duration_seconds_count{${calls}}`)).to.be.at.least(running);
    expect(value('podwright_image_pulls_total')).to.equal(1);
    expect(value('podwright_image_pull_bytes_total')).to.be.above(100_000);
    expect(value('podwright_image_pull_duration_seconds_count{code="OK"}')).to.equal(1);
    expect(page).to.match(/podwright_stage_duration_seconds_count\{object="sandbox",stage="\w+"\} 1\n/);
    expect(page).to.match(/podwright_stage_duration_seconds_count\{object="container",stage="\w+"\} \d+\n/);
    expect(value('process_resident_memory_bytes')).to.be.above(30_000_000);
  });
});

const listContainersPath = '/containerd.services.containers.v1.Containers/List';

function labelsOf(
  metric: Metric | undefined,
  keys: ReadonlyMap<string, readonly string[]>,
): Readonly<Record<string, string | undefined>> {
  const names = keys.get(metric?.name ?? '') ?? [];
  return Object.fromEntries(names.map((name, index) => [name, metric?.labelValues[index]]));
}

interface Method<Request, Response> {
  readonly path: string;
  readonly requestSerialize: (value: Request) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Response;
}

function ask<Request, Response>(
  client: Client,
  { path: name, requestSerialize, responseDeserialize }: Method<Request, Response>,
  request: Request,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(name, requestSerialize, responseDeserialize, request, (error, response) => {
      if (error === null && response !== undefined) resolve(response);
      else reject(error ?? new Error('no response'));
    });
  });
}

function scrape(socketPath: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.get({ socketPath, path: '/metrics', agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('end', () => resolve(text));
    });
    request.on('error', reject);
  });
}
