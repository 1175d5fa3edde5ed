import { once } from 'node:events';
import { readFile, readdir, readlink } from 'node:fs/promises';
import net from 'node:net';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { type Bed, type Pod, type Workload, containerConfig, hostNetwork, openBed } from './bed.js';
import { runContainer, runPod } from './bed.js';
import { eventually } from './eventually.js';
import { possessions } from './instance.js';
import { type Random, seededRandom } from './random.js';
import { type CommandSession, type Transport, openCommand, openForwards } from './streaming-client.js';
import { SpdyClient } from './streaming-spdy.js';
import { upgrade } from './streaming-upgrade.js';
import { attachUrl, execUrl, forwardUrl, noExecCgroups } from './streaming-urls.js';

/** ABORTS=1000 for the long form, SEED=… repeats its choices. */
const sessions = Number(process.env['ABORTS'] ?? 150);
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const atOnce = 10;
const MIB = 1024 * 1024;
/** What the daemon may keep of them: its heap does not shrink at once. */
const memoryBound = 40 * MIB;
/** A client that leaves while it is not read is noticed by the second thing that cannot be sent to it. */
const noticeMs = 15_000;

const wanted = { stdin: true, stdout: true, stderr: true };

/** Clients that drop their connection at any point must leave nothing. */
describe(`${sessions} aborted streaming sessions (SEED=${seed})`, function () {
  let bed: Bed;
  let pod: Pod;
  let target: Workload;
  let echo: net.Server;
  const echoed = new Set<net.Socket>();

  before(async () => {
    bed = await openBed();
    pod = await runPod(bed, 'aborts', hostNetwork);
    const script = 'while :; do head -c 10000 /dev/zero; sleep 0.05; done';
    target = await runContainer(
      bed,
      pod,
      containerConfig(bed, 'target', script, { stdin: true, logPath: '' }),
    );
    echo = net.createServer((socket) => {
      echoed.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => echoed.delete(socket));
      socket.pipe(socket);
    });
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
  });
  after(async () => {
    echo?.close();
    await bed?.end();
  });

  /** Makes one session and drops its connection. */
  type Abort = (random: Random) => Promise<void>;

  const openExec = async (transport: Transport, command: string, tty = false): Promise<CommandSession> => {
    const streams = tty ? { stdin: true, stdout: true, tty } : wanted;
    return openCommand(await execUrl(bed, target, command, streams), transport, streams);
  };

  const beforeUpgrade: Abort = async (random) => {
    const url = new URL(await execUrl(bed, target, 'cat', wanted));
    const request = `POST ${url.pathname} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n`;
    const socket = net.connect(Number(url.port), url.hostname);
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    await new Promise((resolve) =>
      socket.write(request.slice(0, random.between(1, request.length)), resolve),
    );
    socket.destroy();
  };

  const afterFirstStream: Abort = async (random) => {
    const headers = { Upgrade: 'SPDY/3.1', 'X-Stream-Protocol-Version': 'v4.channel.k8s.io' };
    const { socket, head } = await upgrade(await execUrl(bed, target, 'cat', wanted), { headers });
    const client = new SpdyClient(socket, head);
    for (const streamType of ['error', 'stdin', 'stdout', 'stderr'].slice(0, random.between(0, 4)))
      client.open({ streamType });
    if (random.next() < 0.5) socket.destroy();
    else socket.resetAndDestroy();
  };

  const midData: Abort = async (random) => {
    const tty = random.next() < 0.3;
    const session = await openExec(random.pick(['spdy', 'websocket']), 'cat', tty);
    session.stdin.write(Buffer.alloc(random.between(1, 300_000), 'line\n'));
    if (random.next() < 0.8) await news(session.stdout);
    session.socket.destroy();
  };

  const unread: Abort = async (random) => {
    const session = await openExec(random.pick(['spdy', 'websocket']), 'cat /dev/zero');
    await news(session.stdout);
    session.socket.pause();
    session.socket.destroy();
  };

  /** More than is held of the input, so that the daemon does not read when the client leaves. */
  const paused: Abort = async (random) => {
    const session = await openExec(random.pick(['spdy', 'websocket']), 'echo ready; sleep 3600');
    await news(session.stdout);
    session.stdin.write(Buffer.alloc(8 * MIB));
    await delay(random.between(0, 100));
    session.socket.destroy();
  };

  const attached: Abort = async (random) => {
    const session = await openCommand(
      await attachUrl(bed, target.id, wanted),
      random.pick(['spdy', 'websocket']),
      wanted,
    );
    if (random.next() < 0.7) await news(session.stdout);
    session.socket.destroy();
  };

  const forwarded: Abort = async (random) => {
    const client = await openForwards(await forwardUrl(bed, pod.id), random.pick(['spdy', 'websocket']));
    const { port } = echo.address() as net.AddressInfo;
    for (let count = random.between(0, 3); count > 0; count--) {
      const { data } = client.connect(random.next() < 0.8 ? port : 1);
      data.write(Buffer.alloc(random.between(1, 200_000)));
      if (random.next() < 0.5) await news(data);
    }
    client.socket.destroy();
  };

  const points: readonly [Abort, ...Abort[]] = [
    beforeUpgrade,
    afterFirstStream,
    midData,
    unread,
    paused,
    attached,
    forwarded,
  ];

  const abortMany = async (random: Random, count: number): Promise<void> => {
    let left = count;
    const work = async (): Promise<void> => {
      while (left-- > 0) await points[left % points.length]?.(random);
    };
    await Promise.all(Array.from({ length: atOnce }, work));
  };

  /** Kinds of descriptors of the daemon, with their number. */
  const descriptors = async (): Promise<Readonly<Record<string, number>>> => {
    const directory = `/proc/${bed.daemon.pid}/fd`;
    const counts: Record<string, number> = {};
    for (const fd of await readdir(directory)) {
      const target = await readlink(`${directory}/${fd}`).catch(() => '');
      const kind = target.replace(/:?\[?\d*\]?$/, '');
      if (kind !== '') counts[kind] = (counts[kind] ?? 0) + 1;
    }
    return counts;
  };

  const resident = async (): Promise<number> =>
    Number((await readFile(`/proc/${bed.daemon.pid}/statm`, 'utf8')).split(' ')[1]) * 4096;

  it('leave no descriptor, process, cgroup or memory', async () => {
    const random = seededRandom(seed);
    const look = async (): Promise<Readonly<Record<string, number>>> => {
      const { box, cgroups } = await possessions(bed.daemon.instance);
      const counts = { processes: box.length, cgroups: cgroups.length, connections: echoed.size };
      return { ...counts, ...(await descriptors()) };
    };
    // Whatever is opened once, and what the first of each kind makes the heap grow.
    await abortMany(random, 4 * points.length);
    await noExecCgroups(bed, target);
    await delay(1000);
    const before = await look();
    const memory = await resident();
    const start = performance.now();
    await abortMany(random, sessions);
    const aborted = performance.now();
    const more = async (): Promise<readonly string[]> =>
      Object.entries(await look())
        .filter(([name, count]) => count > (before[name] ?? 0))
        .map(([name, count]) => `${name}: ${before[name] ?? 0} before, ${count} now`);
    expect(await eventually(more, (found) => found.length === 0, noticeMs)).to.deep.equal([]);
    const growth = (await resident()) - memory;
    console.log(
      `      ${sessions} sessions in ${((aborted - start) / 1000).toFixed(1)} s, ` +
        `everything gone ${((performance.now() - aborted) / 1000).toFixed(1)} s later, ` +
        `the daemon grew by ${(growth / MIB).toFixed(1)} MiB`,
    );
    expect(growth).to.be.below(memoryBound);
  });
});

/** Resolves when something can be read, or nothing ever will. */
async function news(from: Readable): Promise<void> {
  if (!from.destroyed) await Promise.race([once(from, 'readable'), once(from, 'close')]);
}
