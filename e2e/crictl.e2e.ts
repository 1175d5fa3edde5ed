import { execFile } from 'node:child_process';
import { access, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { type Bed, containerConfig, openBed, podConfig } from './bed.js';
import { awaitLine } from './container-log.js';
import { tool } from './places.js';

/** crictl 1.36.0, as somebody at a node's shell uses it: every command in turn on one pod. */
describe('crictl', function () {
  let bed: Bed;
  let pod = '';
  let container = '';
  const run = async (...args: readonly string[]): Promise<Output> => {
    const socket = `unix://${bed.daemon.socket}`;
    const config = path.join(bed.daemon.instance.scratch, 'crictl.yaml');
    const options = ['--config', config, '-r', socket, '-i', socket, '--timeout', '30s'];
    return promisify(execFile)(tool('crictl'), [...options, ...args]);
  };
  const crictl = async (...args: readonly string[]): Promise<string> => (await run(...args)).stdout;
  const json = async (...args: readonly string[]): Promise<Json> => JSON.parse(await crictl(...args)) as Json;

  before(async function () {
    await access(tool('crictl')).catch(() => this.skip());
    bed = await openBed();
    await writeFile(path.join(bed.daemon.instance.scratch, 'crictl.yaml'), '');
  });
  after(async () => {
    await bed?.end();
  });

  it('version', async () => {
    expect(await crictl('version'))
      .to.match(/RuntimeName: +podwright/)
      .and.to.match(/RuntimeApiVersion: +v1/);
  });

  it('info', async () => {
    const { status, config, runtimeHandlers } = await json('info');
    const conditions = status['conditions'] as { type: string; status: boolean }[];
    expect(conditions.map(({ type, status }) => [type, status])).to.deep.equal([
      ['RuntimeReady', true],
      ['NetworkReady', true],
    ]);
    expect([config, runtimeHandlers].some((part) => part !== undefined)).to.equal(true);
  });

  it('pull, images, inspecti, imagefsinfo', async () => {
    const { image } = bed;
    expect(await crictl('pull', image)).to.match(/^Image is up to date for .*sha256:[0-9a-f]{64}\n$/);
    expect(await crictl('images')).to.contain(image.slice(0, image.lastIndexOf(':')));
    const { status, info } = await json('inspecti', image);
    expect(status['repoTags']).to.deep.equal([image]);
    expect(Number(status['size'])).to.be.greaterThan(100_000);
    expect(JSON.stringify(info)).to.contain('PATH=');
    const usage = await json('imagefsinfo');
    expect(JSON.stringify(usage)).to.contain(bed.daemon.instance.root);
  });

  it('runp, pods, inspectp', async () => {
    const config = { ...podConfig(bed, 'crictl'), labels: { app: 'demo' }, annotations: { note: 'x y' } };
    const file = await inFile(bed, 'pod.json', config);
    pod = (await crictl('runp', file)).trim();
    expect(pod).to.match(/^[0-9a-f]{64}$/);
    expect((await crictl('pods', '-q', '--label', 'app=demo', '--state', 'ready')).trim()).to.equal(pod);
    expect(await crictl('pods')).to.match(/Ready +crictl +e2e +0/);
    const { status, info } = await json('inspectp', pod);
    expect(status['metadata']).to.include({ name: 'crictl', namespace: 'e2e', uid: 'uid-crictl' });
    expect(status['state']).to.equal('SANDBOX_READY');
    expect(status['labels']).to.deep.equal({ app: 'demo' });
    expect(status['annotations']).to.deep.equal({ note: 'x y' });
    expect((status['network'] as Json)['ip']).to.match(/^10\.\d+\.\d+\.\d+$/);
    expect(info?.['pid']).to.be.greaterThan(1);
  });

  it('create, start, ps, inspect', async () => {
    const script =
      'echo ready; echo to-stderr >&2; trap "exit 7" TERM; while :; do sleep 600 & wait $!; done';
    const config = containerConfig(bed, 'main', script, {
      linux: { resources: { memoryLimitInBytes: 64n << 20n, cpuShares: 512n } },
    });
    const files = [
      await inFile(bed, 'container.json', config),
      path.join(bed.daemon.instance.scratch, 'pod.json'),
    ];
    container = (await crictl('create', pod, ...files)).trim();
    expect(container).to.match(/^[0-9a-f]{64}$/);
    expect(await crictl('ps', '-a')).to.match(/Created +main/);
    expect((await crictl('start', container)).trim()).to.equal(container);
    expect((await crictl('ps', '-q', '--pod', pod)).trim()).to.equal(container);
    expect(await crictl('ps')).to.match(/Running +main/);
    const { status, info } = await json('inspect', container);
    expect(status['state']).to.equal('CONTAINER_RUNNING');
    expect(status['metadata']).to.include({ name: 'main' });
    expect((status['image'] as Json)['image']).to.equal(bed.image);
    expect(status['logPath']).to.match(/\/logs\/crictl\/main\.log$/);
    const process = (info?.['runtimeSpec'] as Json)['process'] as Json;
    expect(process['args']).to.deep.equal(['sh', '-c', script]);
    expect(info?.['plan']).to.be.an('array').with.length.greaterThan(10);
    expect(info?.['timingsMs']).to.include.keys('plan', 'monitor');
  });

  it('logs', async () => {
    const log = path.join(bed.daemon.instance.scratch, 'logs/crictl/main.log');
    await awaitLine(log, 'ready');
    await awaitLine(log, 'to-stderr');
    expect(await run('logs', container)).to.deep.equal({ stdout: 'ready\n', stderr: 'to-stderr\n' });
    const last = await run('logs', '--tail', '1', '--timestamps', container);
    expect(last.stdout + last.stderr).to.match(/^\d{4}-\d\d-\d\dT\S+ (ready|to-stderr)\n$/);
  });

  it('exec -s', async () => {
    // crictl adds empty lines of its own.
    expect((await crictl('exec', '-s', container, 'echo', 'hello', 'there')).trimEnd()).to.equal(
      'hello there',
    );
    const script = 'echo out; echo err >&2; exit 3';
    const { stderr } = await failure(run('exec', '-s', container, 'sh', '-c', script));
    expect(stderr).to.contain('exited with 3: err');
  });

  it('stats, statsp', async () => {
    const [stats] = (await json('stats', '-o', 'json', '--id', container))['stats'] as Json[];
    expect(Number(((stats?.['cpu'] as Json)['usageCoreNanoSeconds'] as Json)['value'])).to.be.greaterThan(0);
    expect(Number(((stats?.['memory'] as Json)['workingSetBytes'] as Json)['value'])).to.be.greaterThan(0);
    expect(await crictl('stats')).to.contain(container.slice(0, 13));
    const ofPods = JSON.stringify(await json('statsp', '-o', 'json', '--id', pod));
    expect(ofPods).to.contain(pod).and.to.contain('usageCoreNanoSeconds').and.to.contain('"eth0"');
    expect(await crictl('statsp')).to.contain(pod.slice(0, 13));
  });

  it('metricdescs, metricsp', async () => {
    const descriptors = (await json('metricdescs'))['descriptors'] as Json[];
    expect(descriptors.map(({ name }) => name)).to.include('container_cpu_usage_seconds_total');
    const pods = (await json('metricsp'))['podMetrics'] as Json[];
    const ours = pods.find(({ podSandboxId }) => podSandboxId === pod);
    const [metrics] = ours?.['containerMetrics'] as Json[];
    expect(metrics?.['containerId']).to.equal(container);
  });

  it('update', async () => {
    await crictl('update', '--cpu-share', '256', '--memory', String(96 << 20), container);
    const { status } = await json('inspect', container);
    const linux = (status['resources'] as Json)['linux'] as Json;
    expect(Number(linux['cpuShares'])).to.equal(256);
    expect(Number(linux['memoryLimitInBytes'])).to.equal(96 << 20);
  });

  it('checkpoint', async function () {
    await access(tool('criu')).catch(() => this.skip());
    const archive = path.join(bed.daemon.instance.scratch, 'checkpoint.tar');
    await crictl('checkpoint', '--export', archive, container);
    const { size, mode } = await stat(archive);
    expect(size).to.be.greaterThan(10_000);
    expect(mode & 0o777).to.equal(0o600);
    const { stdout } = await promisify(execFile)('tar', ['-tf', archive]);
    expect(stdout.split('\n')).to.include.members(['config.dump', 'spec.dump']);
    expect(stdout).to.contain('checkpoint/').and.to.contain('inventory.img');
    expect((await crictl('exec', '-s', container, 'echo', 'on')).trimEnd()).to.equal('on');
  });

  it('stop, rm', async () => {
    await crictl('stop', '--timeout', '10', container);
    const { status } = await json('inspect', container);
    expect(status).to.include({ state: 'CONTAINER_EXITED', exitCode: 7, reason: 'Error' });
    expect(await crictl('ps', '-q')).to.equal('');
    expect(await crictl('ps', '-a')).to.match(/Exited +main/);
    await crictl('rm', container);
    expect((await failure(run('inspect', container))).stderr)
      .to.contain('NotFound')
      .and.to.contain(container);
  });

  it('stopp, rmp', async () => {
    await crictl('stopp', pod);
    expect(await crictl('pods')).to.match(/NotReady +crictl/);
    await crictl('rmp', pod);
    expect(await crictl('pods', '-q')).to.equal('');
    expect((await failure(run('inspectp', pod))).stderr)
      .to.contain('NotFound')
      .and.to.contain(pod);
  });

  it('rmi', async () => {
    expect(await crictl('rmi', bed.image)).to.contain(bed.image);
    expect(await crictl('images', '-q')).to.equal('');
    expect((await failure(run('inspecti', bed.image))).stderr).to.contain(bed.image);
  });
});

type Json = Readonly<Record<string, unknown>> & {
  readonly status: Readonly<Record<string, unknown>>;
  readonly info?: Readonly<Record<string, unknown>>;
};

async function inFile({ daemon }: Bed, name: string, value: object): Promise<string> {
  const file = path.join(daemon.instance.scratch, name);
  await writeFile(
    file,
    JSON.stringify(snakeCased(value), (_, part: unknown) => jsonOf(part)),
  );
  return file;
}

/** crictl reads the CRI's JSON, in which 64-bit numbers may be plain ones. */
function jsonOf(value: unknown): unknown {
  return typeof value === 'bigint' ? Number(value) : value;
}

/** crictl reads its files with Go's JSON, which wants the names of the fields as the CRI spells them. */
function snakeCased(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(snakeCased);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => [
      key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      snakeCased(part),
    ]),
  );
}

interface Output {
  readonly stdout: string;
  readonly stderr: string;
}

/** What it leaves when it fails. */
async function failure(run: Promise<Output>): Promise<Output & { readonly code: number }> {
  try {
    await run;
  } catch (error) {
    return error as Output & { readonly code: number };
  }
  throw new Error('crictl did not fail');
}
