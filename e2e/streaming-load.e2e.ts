import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import net from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { type Bed, type Pod, type Workload, containerConfig, hostNetwork, openBed } from './bed.js';
import { runContainer, runPod } from './bed.js';
import { type CommandSession, openCommand, openForwards, transports } from './streaming-client.js';
import { attachUrl, execUrl, forwardUrl, noExecCgroups } from './streaming-urls.js';

const MIB = 1024 * 1024;
/** Bytes each way; STREAM_MIB=100 for the long form. */
const volume = Number(process.env['STREAM_MIB'] ?? 20) * MIB;
/** What a session may add to the daemon's resident memory, whatever it carries. */
const memoryBound = 48 * MIB;

/** Much data at once, in both directions, and clients or commands that take none of it. */
describe('streaming much', function () {
  let bed: Bed;
  let pod: Pod;
  let target: Workload;
  let echo: net.Server;

  before(async () => {
    bed = await openBed();
    pod = await runPod(bed, 'load', hostNetwork);
    target = await runContainer(bed, pod, containerConfig(bed, 'target', ['sleep', '3600']));
    echo = net.createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
  });
  after(async () => {
    echo?.close();
    await bed?.end();
  });

  /** Calls `use` and tells by how much it made the daemon grow at most. */
  const growthDuring = async (use: () => Promise<void>): Promise<number> => {
    const memory = async (name: string): Promise<number> => {
      const status = await readFile(`/proc/${bed.daemon.pid}/status`, 'utf8');
      return 1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]);
    };
    // man 5 proc_pid_clear_refs: 5 sets the peak to what is resident now.
    await writeFile(`/proc/${bed.daemon.pid}/clear_refs`, '5');
    const before = await memory('VmRSS');
    await use();
    return (await memory('VmHWM')) - before;
  };

  const bothWays = async (title: string, to: Writable, from: Readable): Promise<void> => {
    const start = performance.now();
    const growth = await growthDuring(async () => {
      const [sent, received] = await Promise.all([send(to, volume), digest(from)]);
      expect(received).to.deep.equal(sent);
    });
    const seconds = (performance.now() - start) / 1000;
    console.log(
      `      ${title}: ${Math.round((2 * volume) / MIB / seconds)} MiB/s, ` +
        `the daemon grew by ${(growth / MIB).toFixed(1)} MiB`,
    );
    expect(growth).to.be.below(memoryBound);
  };

  const wanted = { stdin: true, stdout: true };
  const exec = async (command: string, transport: 'spdy' | 'websocket'): Promise<CommandSession> =>
    openCommand(await execUrl(bed, target, command, wanted), transport, wanted);

  for (const transport of transports) {
    it(`${volume / MIB} MiB each way through exec over ${transport}`, async () => {
      const session = await exec('cat', transport);
      await bothWays(`exec, ${transport}`, session.stdin, session.stdout);
      expect(JSON.parse(await session.lastWord)).to.include({ status: 'Success' });
      session.socket.destroy();
    });

    it(`${volume / MIB} MiB each way through attach over ${transport}`, async () => {
      const more = { stdin: true, stdinOnce: true, logPath: '' };
      const config = containerConfig(bed, `cat-${transport}`, ['cat'], more);
      const container = await runContainer(bed, { ...pod, logDirectory: '' }, config);
      const session = await openCommand(await attachUrl(bed, container.id, wanted), transport, wanted);
      await bothWays(`attach, ${transport}`, session.stdin, session.stdout);
      session.socket.destroy();
    });

    it(`${volume / MIB} MiB each way through port-forward over ${transport}`, async () => {
      const client = await openForwards(await forwardUrl(bed, pod.id), transport);
      const { data, error } = client.connect((echo.address() as net.AddressInfo).port);
      await bothWays(`port-forward, ${transport}`, data, data);
      expect(await error).to.equal('');
      client.socket.destroy();
    });

    it(`holds little of what a command does not read over ${transport}`, async () => {
      const session = await exec('sleep 3600', transport);
      const growth = await growthDuring(async () => {
        const block = randomBytes(MIB);
        for (let sent = 0; sent < volume; sent += MIB) session.stdin.write(block);
        await untilStill(() => session.socket.bytesWritten - session.socket.writableLength);
      });
      expect(session.stdin.writableLength).to.be.above(volume / 2);
      expect(growth).to.be.below(memoryBound);
      session.socket.destroy();
      await noExecCgroups(bed, target);
    });

    it(`holds little of what a client does not read over ${transport}`, async () => {
      const session = await exec('cat /dev/zero', transport);
      session.socket.pause();
      const growth = await growthDuring(() => untilStill(() => session.socket.bytesRead));
      expect(growth).to.be.below(memoryBound);
      session.socket.destroy();
      await noExecCgroups(bed, target);
    });
  }
});

/** Sends so many bytes that no two blocks are alike, then the end; resolves with their digest. */
async function send(to: Writable, length: number): Promise<string> {
  const hash = createHash('sha256');
  const random = randomBytes(MIB);
  for (let sent = 0; sent < length; sent += MIB) {
    const block = Buffer.from(random);
    block.writeUInt32BE(sent / MIB);
    hash.update(block);
    if (!to.write(block)) await once(to, 'drain');
  }
  to.end();
  return hash.digest('hex');
}

async function digest(from: Readable): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of from) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** Resolves once the figure has not changed for a while. */
async function untilStill(figure: () => number): Promise<void> {
  for (let last = -1; last !== figure();) {
    last = figure();
    await delay(300);
  }
}
