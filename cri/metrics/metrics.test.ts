import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { RuntimeServiceService } from '../../protos/gen/cri/runtime/v1/api.js';
import { silentLogger } from '../../runtime/base/logger.js';
import { podConfig } from '../testing/fixtures.js';
import { type InMemoryRuntime, openInMemoryRuntime } from '../testing/in-memory-runtime.js';
import { ask, openTestServer, refusal } from '../testing/server.js';
import { parseMetricsAddress } from './address.js';
import { openMetrics } from './index.js';

type Metrics = Awaited<ReturnType<typeof openMetrics>>;

interface Answer {
  readonly status: number | undefined;
  readonly type: string | undefined;
  readonly text: string;
}

function request(options: http.RequestOptions): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = http.request({ agent: false, ...options }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('end', () =>
        resolve({ status: response.statusCode, type: response.headers['content-type'], text }),
      );
    });
    call.on('error', reject).end();
  });
}

/** The value of a sample by its text up to the value. */
function sample(text: string, name: string): number | undefined {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.slice(name.length + 1));
}

describe('metrics of the daemon', () => {
  let runtime: InMemoryRuntime;
  let metrics: Metrics;
  let directory: string;

  before(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'podwright-metrics-'));
    runtime = openInMemoryRuntime();
    metrics = await open('127.0.0.1:0');
  });
  after(async () => {
    await metrics.close();
    await rm(directory, { recursive: true, force: true });
  });

  const open = (address: string) => openMetrics({ address, version: '1.2.3', runtime, log: silentLogger });
  const scrape = async (): Promise<string> => (await request({ port: metrics.port, path: '/metrics' })).text;

  it('are one page', async () => {
    const port = { port: metrics.port };
    const page = await request({ ...port, path: '/metrics' });
    expect(page.status).to.equal(200);
    expect(page.type).to.match(/^text\/plain; version=0\.0\.4/);
    expect((await request({ ...port, path: '/' })).status).to.equal(404);
    expect((await request({ ...port, path: '/metrics/..' })).status).to.equal(404);
    expect((await request({ ...port, path: '/metrics', method: 'POST' })).status).to.equal(405);
    expect((await request({ ...port, path: '/metrics', method: 'DELETE' })).status).to.equal(405);
  });

  it('tell of the daemon', async () => {
    const text = await scrape();
    expect(sample(text, `podwright_build_info{version="1.2.3",node="${process.versions.node}"}`)).to.equal(1);
    for (const name of [
      'process_cpu_seconds_total',
      'process_resident_memory_bytes',
      'process_open_fds',
      'process_start_time_seconds',
      'podwright_heap_used_bytes',
      'podwright_event_loop_busy_seconds_total',
    ])
      expect(sample(text, name), name).to.be.above(0);
  });

  it('count calls by their code and measure them', async () => {
    const ended = metrics.begin('/runtime.v1.RuntimeService/StartContainer');
    const labels = 'service="runtime.v1.RuntimeService",rpc="StartContainer"';
    expect(sample(await scrape(), `podwright_rpcs_in_progress{${labels}}`)).to.equal(1);
    ended('NotFound');
    metrics.begin('/runtime.v1.RuntimeService/StartContainer')('OK');
    metrics.begin('/runtime.v1.ImageService/PullImage')('Unavailable');
    const text = await scrape();
    expect(sample(text, `podwright_rpcs_in_progress{${labels}}`)).to.equal(0);
    expect(sample(text, `podwright_rpcs_total{${labels},code="NotFound"}`)).to.equal(1);
    expect(sample(text, `podwright_rpcs_total{${labels},code="OK"}`)).to.equal(1);
    expect(sample(text, `podwright_rpc_duration_seconds_count{${labels}}`)).to.equal(2);
    expect(sample(text, 'podwright_image_pull_duration_seconds_count{code="Unavailable"}')).to.equal(1);
  });

  it('count objects by their state', async () => {
    const request = { handler: '', client: { version: 1 } } as never;
    const { id } = await runtime.sandboxes.run(request, AbortSignal.timeout(1000));
    expect(sample(await scrape(), 'podwright_sandboxes{state="ready"}')).to.equal(1);
    await runtime.sandboxes.stop(id, AbortSignal.timeout(1000));
    const text = await scrape();
    expect(sample(text, 'podwright_sandboxes{state="ready"}')).to.equal(0);
    expect(sample(text, 'podwright_sandboxes{state="notready"}')).to.equal(1);
    expect(sample(text, 'podwright_containers{state="running"}')).to.equal(0);
    expect(sample(text, 'podwright_monitors')).to.equal(0);
    expect(sample(text, 'podwright_image_pull_bytes_total')).to.equal(0);
  });

  it('are served on a unix socket, which outlives no daemon', async () => {
    const socketPath = path.join(directory, 'metrics.sock');
    const first = await open(`unix:${socketPath}`);
    expect((await stat(socketPath)).mode & 0o777).to.equal(0o660);
    expect((await request({ socketPath, path: '/metrics' })).status).to.equal(200);
    const second = await open(`unix:${socketPath}`).catch((error: unknown) => error);
    expect(String(second)).to.match(/EADDRINUSE/);
    await first.close();
    await leaveSocket(socketPath);
    const third = await open(`unix:${socketPath}`);
    expect((await request({ socketPath, path: '/metrics' })).status).to.equal(200);
    await third.close();
  });

  it('take no place of a file', async () => {
    const file = path.join(directory, 'file');
    await writeFile(file, 'precious');
    expect(String(await open(`unix:${file}`).catch((error: unknown) => error))).to.match(/EADDRINUSE/);
    expect((await stat(file)).size).to.equal(8);
  });

  for (const address of [
    'localhost',
    'localhost:',
    ':9090',
    '127.0.0.1:70000',
    'unix:relative',
    'http://x:1',
    '::1:90',
    `unix:/${'x'.repeat(120)}`,
  ]) {
    it(`have no address ${address.slice(0, 20)}`, () => {
      expect(parseMetricsAddress(address)).to.equal(undefined);
    });
  }

  it('have addresses of three forms', () => {
    expect(parseMetricsAddress('127.0.0.1:9090')).to.deep.equal({ host: '127.0.0.1', port: 9090 });
    expect(parseMetricsAddress('[::1]:9090')).to.deep.equal({ host: '::1', port: 9090 });
    expect(parseMetricsAddress('node-1:9090')).to.deep.equal({ host: 'node-1', port: 9090 });
    expect(parseMetricsAddress('unix:/run/x.sock')).to.deep.equal({ path: '/run/x.sock' });
  });
});

/** A socket file without listener, as a killed process leaves it. */
async function leaveSocket(socketPath: string): Promise<void> {
  const { execFile } = await import('node:child_process');
  const script = `require('net').createServer().listen(${JSON.stringify(socketPath)}, () => process.kill(process.pid, 9))`;
  await new Promise<void>((resolve) => execFile(process.execPath, ['-e', script], () => resolve()));
}

describe('metrics of calls', () => {
  it('are kept by the server', async () => {
    const told: string[] = [];
    const metrics = {
      begin: (called: string) => (code: string) => void told.push(`${called} ${code}`),
      close: async () => undefined,
    };
    const server = await openTestServer(silentLogger, [], { metrics });
    try {
      const { runPodSandbox, containerStatus } = RuntimeServiceService;
      await ask(server.client, runPodSandbox, { config: podConfig(), runtimeHandler: '' });
      await refusal(ask(server.client, containerStatus, { containerId: 'none', verbose: false }));
      expect(told).to.deep.equal([
        '/runtime.v1.RuntimeService/RunPodSandbox OK',
        '/runtime.v1.RuntimeService/ContainerStatus NotFound',
      ]);
    } finally {
      await server.close();
    }
  });
});
