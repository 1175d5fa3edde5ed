import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Client, credentials } from '@grpc/grpc-js';
import { expect } from 'chai';
import { RuntimeServiceService } from '../protos/gen/cri/runtime/v1/api.js';
import {
  type Bed,
  type Pod,
  containerConfig,
  createContainer,
  exec,
  hostNetwork,
  openBed,
  pauseOf,
  runContainer,
  runPod,
} from './bed.js';
import { startListServer } from './fixtures/list-server.js';
import { commandOf, processesWith } from './processes.js';

const MiB = 1024 * 1024;

interface Memory {
  readonly rssBytes: number;
  readonly pssBytes: number;
  /** Written to by this process alone: the price of one more of its kind. */
  readonly privateBytes: number;
}

async function memoryOf(pid: number): Promise<Memory> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
  const bytes = (name: string): number =>
    Number(new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(text)?.[1] ?? 0) * 1024;
  return {
    rssBytes: bytes('Rss'),
    pssBytes: bytes('Pss'),
    privateBytes: bytes('Private_Dirty'),
  };
}

/** What the parts may cost at most. */
describe('a budget', function () {
  this.timeout(120_000);
  let bed: Bed;
  let pod: Pod;

  before(async () => {
    bed = await openBed();
    pod = await runPod(bed, 'pod', hostNetwork);
  });
  after(async () => {
    await bed?.end();
  });

  it('of a monitor is 1 MiB, whatever its container says and however often somebody executes', async () => {
    const script =
      'trap : TERM; i=0; while [ $i -lt 20000 ]; do echo "a line of the log, number $i"; i=$((i+1)); done; touch /done; sleep 1000';
    const container = await runContainer(bed, pod, containerConfig(bed, 'talker', script));
    await exec(bed, container.id, 'until [ -e /done ]; do usleep 10000; done');
    for (let round = 0; round < 30; round += 1) await exec(bed, container.id, ['true']);
    const [monitor = 0] = await processesWith(container.id);
    expect((await commandOf(monitor))[1]).to.equal('monitor');
    const { rssBytes, privateBytes } = await memoryOf(monitor);
    console.log(`      monitor: ${rssBytes / 1024} KiB resident, ${privateBytes / 1024} KiB of it private`);
    expect(rssBytes).to.be.at.most(MiB);
    expect(privateBytes).to.be.at.most(MiB / 2);
  });

  it('of a pause process is 256 KiB', async () => {
    const { rssBytes, pssBytes, privateBytes } = await memoryOf(await pauseOf(bed, pod));
    console.log(
      `      pause: ${rssBytes / 1024} KiB resident, ${pssBytes / 1024} KiB proportional, ${privateBytes / 1024} private`,
    );
    expect(pssBytes).to.be.at.most(MiB / 4);
  });

  it('of a list of 1000 containers is a third of making it into bytes for each call', async () => {
    await makeRecords(bed, pod, 1000);
    const { client, instance, socket } = bed.daemon;
    const answer = await client.runtime.listContainers();
    expect(answer.containers.length).to.be.at.least(1000);
    const start = (kind: 'message' | 'bytes') =>
      startListServer({ socket: path.join(instance.scratch, `${kind}.sock`), answer, kind });
    await using plain = await start('message');
    await using bare = await start('bytes');
    const [ours = 0, theirs = 0, floor = 0] = await mediansMs([socket, plain.socket, bare.socket]);
    const [a, b, c] = [ours, theirs, floor].map((time) => `${time.toFixed(1)} ms`);
    console.log(`      ListContainers(1000): ${a}; encoded for each call ${b}, sent alone ${c}`);
    // What the transport costs is the same for all, and on a busy machine the most of it.
    expect(ours - floor).to.be.at.most((theirs - floor) / 3);
  });
});

/** What the kubelet writes on each of its containers. */
const kubeletTexts = {
  labels: {
    'io.kubernetes.container.name': 'many',
    'io.kubernetes.pod.name': 'many-6d4cf56db6-7xk2p',
    'io.kubernetes.pod.namespace': 'default',
    'io.kubernetes.pod.uid': '8b8a1f0e-2f0c-4f5e-9d4f-0a7d3b9c1e55',
  },
  annotations: {
    'io.kubernetes.container.hash': '5f1c9a3b',
    'io.kubernetes.container.restartCount': '0',
    'io.kubernetes.container.terminationMessagePath': '/dev/termination-log',
    'io.kubernetes.container.terminationMessagePolicy': 'File',
    'io.kubernetes.pod.terminationGracePeriod': '30',
  },
};

/**
 * Containers that have ended, as the daemon finds them when it starts: one that was made, and the others are copies of
 * what it has left on disk.
 */
async function makeRecords(bed: Bed, pod: Pod, count: number): Promise<void> {
  const { daemon } = bed;
  const { id } = await createContainer(bed, pod, containerConfig(bed, 'many', ['true'], kubeletTexts));
  await daemon.client.runtime.stopContainer({ containerId: id, timeout: 0n });
  await daemon.stop();
  const containers = path.join(daemon.instance.root, 'containers');
  const [record, state] = await Promise.all(
    ['record.json', 'state.json'].map((file) => readFile(path.join(containers, id, file), 'utf8')),
  );
  if (record === undefined || state === undefined) throw new Error('a container without record');
  const { request } = JSON.parse(record) as { readonly request: { readonly name: string } };
  for (let index = 1; index < count; index += 1) {
    const copyId = index.toString(16).padStart(64, '0');
    const copy = record.replaceAll(id, copyId).replace(`"${request.name}"`, `"${request.name}-${index}"`);
    await mkdir(path.join(containers, copyId), { mode: 0o700 });
    await writeFile(path.join(containers, copyId, 'record.json'), copy);
    await writeFile(path.join(containers, copyId, 'state.json'), state);
  }
  await daemon.start();
}

/** The median time of a list from each server, asked in turn; the client does not look at the answers. */
async function mediansMs(sockets: readonly string[]): Promise<readonly number[]> {
  const servers = sockets.map((socket) => ({
    client: new Client(`unix:${socket}`, credentials.createInsecure()),
    times: [] as number[],
  }));
  for (let round = -warmUpRounds; round < rounds; round += 1) {
    for (const { client, times } of servers) {
      const begin = performance.now();
      await listBytes(client);
      if (round >= 0) times.push(performance.now() - begin);
    }
  }
  return servers.map(({ client, times }) => {
    client.close();
    return times.sort((one, other) => one - other)[rounds / 2] ?? Infinity;
  });
}

/** Until the engine has compiled what is asked of it. */
const warmUpRounds = 20;
const rounds = 60;

function listBytes(client: Client): Promise<Buffer> {
  const { path: method } = RuntimeServiceService.listContainers;
  const asIs = (bytes: Buffer): Buffer => bytes;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(method, asIs, asIs, Buffer.alloc(0), (error, bytes) =>
      error === null && bytes !== undefined ? resolve(bytes) : reject(error ?? new Error('no answer')),
    );
  });
}
