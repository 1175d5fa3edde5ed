import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { expect } from 'chai';
import { type Bed, type Pod, type Workload, containerConfig, exitOf, hostNetwork, openBed } from './bed.js';
import { runContainer, runPod } from './bed.js';
import { eventually } from './eventually.js';
import { slowness } from './slowness.js';
import {
  type CommandSession,
  type Transport,
  type Wanted,
  openCommand,
  runToEnd,
  transports,
} from './streaming-client.js';
import { SpdyClient, control } from './streaming-spdy.js';
import { upgrade, upgradeRefusal } from './streaming-upgrade.js';
import { openMessages } from './streaming-websocket.js';
import { attachUrl, execUrl, execCgroups, noExecCgroups } from './streaming-urls.js';

/** The sessions of exec and attach, with clients of our own: terminals, half-closes, ends, limits. */
describe('streaming', function () {
  let bed: Bed;
  let pod: Pod;
  let target: Workload;

  before(async () => {
    bed = await openBed();
    pod = await runPod(bed, 'streaming', hostNetwork);
    target = await runContainer(bed, pod, containerConfig(bed, 'target', ['sleep', '3600']));
  });
  after(async () => {
    await bed?.end();
  });

  const exec = async (
    transport: Transport,
    command: string | readonly string[],
    wanted: Wanted & { readonly protocol?: string } = { stdin: true, stdout: true, stderr: true },
  ): Promise<CommandSession> => openCommand(await execUrl(bed, target, command, wanted), transport, wanted);
  const attach = async (transport: Transport, { id }: Workload, wanted: Wanted): Promise<CommandSession> =>
    openCommand(await attachUrl(bed, id, wanted), transport, wanted);

  for (const transport of transports) {
    describe(`over ${transport}`, () => {
      it('carries three streams, the end of the input and the exit code', async () => {
        const session = await exec(transport, 'cat; echo to-stderr >&2; exit 3');
        const { stdout, stderr, lastWord } = await runToEnd(session, 'hello\n');
        expect([stdout.toString(), stderr.toString()]).to.deep.equal(['hello\n', 'to-stderr\n']);
        expect(JSON.parse(lastWord)).to.deep.include({
          status: 'Failure',
          reason: 'NonZeroExitCode',
          details: { causes: [{ reason: 'ExitCode', message: '3' }] },
        });
      });

      it('tells success, signals, and why a command could not run', async () => {
        const codeOf = async (command: string): Promise<unknown> =>
          JSON.parse((await runToEnd(await exec(transport, command))).lastWord);
        expect(await codeOf('true')).to.include({ status: 'Success' });
        expect(await codeOf('kill -9 $$')).to.have.nested.property('details.causes[0].message', '137');
        expect(await codeOf('kill -15 $$')).to.have.nested.property('details.causes[0].message', '143');
        const missing = await runToEnd(await exec(transport, ['/no/such/program']));
        expect(JSON.parse(missing.lastWord)).to.include({ status: 'Failure', reason: 'InternalError' });
        expect(missing.lastWord).to.match(/\/no\/such\/program.*no such file/i);
        await noExecCgroups(bed, target);
      });

      it('gives a terminal of the size that the client names, again and again', async () => {
        const wanted = { stdin: true, stdout: true, tty: true };
        const session = await exec(transport, 'while read line; do stty size; done; tty', wanted);
        for (const [columns, rows] of [
          [100, 40],
          [33, 7],
        ] as const) {
          session.resize(columns, rows);
          await awaitSize(session, `${rows} ${columns}`);
        }
        session.stdin.write('\x04');
        await awaitText(session.stdout, '/dev/');
        expect(JSON.parse(await session.lastWord)).to.include({ status: 'Success' });
        session.socket.destroy();
      });

      it('kills what it has started when the client leaves', async () => {
        const script = '(sleep 3600 & echo child); echo started; sleep 3600';
        const session = await exec(transport, script);
        await awaitText(session.stdout, 'started');
        expect(await execCgroups(bed, target)).to.have.length(1);
        session.socket.destroy();
        await noExecCgroups(bed, target);
      });

      it('ends the input of a container that takes it once, when its first client does', async () => {
        for (const leave of ['half-close', 'close'] as const) {
          const config = containerConfig(bed, `once-${transport}-${leave}`, 'cat; echo end of input', {
            stdin: true,
            stdinOnce: true,
          });
          const container = await runContainer(bed, pod, config);
          const session = await attach(transport, container, { stdin: true, stdout: true });
          session.stdin.write('text\n');
          await awaitText(session.stdout, 'text');
          if (leave === 'close') session.socket.destroy();
          else {
            session.stdin.end();
            await awaitText(session.stdout, 'end of input');
            expect(JSON.parse(await session.lastWord)).to.include({ status: 'Success' });
            session.socket.destroy();
          }
          expect((await exitOf(bed, container.id)).exitCode).to.equal(0);
        }
      });

      it('takes a token once, and only for what it is for', async () => {
        const url = await execUrl(bed, target, 'true', { stdout: true });
        await runToEnd(await openCommand(url, transport, { stdout: true }));
        for (const wrong of [url, url.replace('/exec/', '/attach/'), url.slice(0, -1), `${url}x`]) {
          const { status, body } = await upgradeRefusal(openCommand(wrong, transport, { stdout: true }));
          expect([status, body]).to.deep.equal([
            404,
            'no session of this name: each serves once, within a minute',
          ]);
        }
        const other = await execUrl(bed, target, 'true', { stdout: true });
        const attempt = openCommand(other.replace('/exec/', '/portforward/'), transport, { stdout: true });
        expect((await upgradeRefusal(attempt)).status).to.equal(404);
      });

      it('says which protocols there are', async () => {
        const protocol = 'v9.channel.k8s.io';
        const { status, body } = await upgradeRefusal(exec(transport, 'true', { stdout: true, protocol }));
        expect(status).to.equal(403);
        expect(body).to.match(
          /the client offers v9\.channel\.k8s\.io, the server speaks v\d\.channel\.k8s\.io/,
        );
      });
    });
  }

  /** Over WebSocket: what a command says that says what it is told, and its last word. */
  const echoed = async (protocol: string): Promise<readonly [stdout: string, lastWord: string]> => {
    const wanted = { stdin: true, stdout: true, protocol };
    const session = await exec('websocket', 'read line; echo "$line"; exit 4', wanted);
    const { stdout, lastWord } = await runToEnd(session, 'text\n');
    return [stdout.toString(), lastWord];
  };

  it('speaks the old protocols', async () => {
    for (const protocol of ['', 'channel.k8s.io', 'v2.channel.k8s.io', 'v3.channel.k8s.io']) {
      const wanted = { stdout: true, stderr: true, stdin: true, protocol };
      const { stdout, lastWord } = await runToEnd(await exec('spdy', 'cat; exit 4', wanted), 'text');
      expect([stdout.toString(), lastWord]).to.deep.equal([
        'text',
        'command terminated with non-zero exit code: exit status 4',
      ]);
    }
    for (const protocol of ['', 'channel.k8s.io', 'base64.channel.k8s.io']) {
      expect(await echoed(protocol)).to.deep.equal([
        'text\n',
        'command terminated with non-zero exit code: exit status 4',
      ]);
    }
    for (const protocol of ['v4.channel.k8s.io', 'v4.base64.channel.k8s.io']) {
      const [stdout, lastWord] = await echoed(protocol);
      expect(stdout).to.equal('text\n');
      expect(JSON.parse(lastWord)).to.include({ status: 'Failure' });
    }
  });

  it('keeps the cgroup of a command only as long as somebody lives in it', async () => {
    const script = 'sleep 3600 </dev/null >/dev/null 2>&1 & echo $!';
    const { stdout } = await runToEnd(await exec('spdy', script));
    expect(await execCgroups(bed, target)).to.have.length(1);
    await runToEnd(await exec('spdy', `kill -9 ${stdout.toString()}`));
    const next = async (): Promise<number> => {
      await runToEnd(await exec('spdy', 'true'));
      return (await execCgroups(bed, target)).length;
    };
    expect(await eventually(next, (count) => count === 0)).to.equal(0);
  });

  /** In the background, so that a client sees that it is attached. */
  const ticks = '(while :; do echo tick; sleep 0.05; done) &';

  it('serves several attached clients at once', async () => {
    const script = `${ticks} while read line; do echo "got $line"; done`;
    const config = containerConfig(bed, 'shared', script, { stdin: true });
    const container = await runContainer(bed, pod, config);
    const one = await attach('spdy', container, { stdin: true, stdout: true });
    const two = await attach('websocket', container, { stdin: true, stdout: true });
    const reader = await attach('spdy', container, { stdout: true, stderr: true });
    await Promise.all([one, two, reader].map(({ stdout }) => awaitText(stdout, 'tick')));
    for (const [writer, text] of [
      [one, 'one'],
      [two, 'two'],
    ] as const) {
      writer.stdin.write(`${text}\n`);
      await Promise.all([one, two, reader].map(({ stdout }) => awaitText(stdout, `got ${text}`)));
    }
    // Its input stays open: it does not take it once.
    one.socket.destroy();
    two.stdin.write('three\n');
    await Promise.all([two, reader].map(({ stdout }) => awaitText(stdout, 'got three')));
    await bed.daemon.client.runtime.stopContainer({ containerId: container.id, timeout: 0n });
    for (const { lastWord } of [two, reader])
      expect(JSON.parse(await lastWord)).to.include({ status: 'Success' });
  });

  it('does not let a client that reads nothing stop the others', async () => {
    const script = `${ticks} read line; kill $!; head -c 30000000 /dev/zero | tr '\\0' a; echo end; sleep 3600`;
    const config = containerConfig(bed, 'flood', script, { stdin: true });
    const container = await runContainer(bed, pod, config);
    const slow = await attach('spdy', container, { stdout: true });
    await awaitText(slow.stdout, 'tick');
    slow.socket.pause();
    const reader = await attach('websocket', container, { stdin: true, stdout: true });
    reader.stdin.write('\n');
    let received = 0;
    let tail = '';
    for await (const chunk of reader.stdout) {
      const text = (chunk as Buffer).toString('latin1');
      received += text.replaceAll(/[^a]/g, '').length;
      tail = (tail + text.slice(-4)).slice(-4);
      if (tail === 'end\n') break;
    }
    expect(received).to.equal(30_000_000);
    slow.socket.resume();
    slow.stdout.resume();
    expect(await slow.lastWord).to.contain('the client has not read the output in time');
    reader.socket.destroy();
    await bed.daemon.client.runtime.stopContainer({ containerId: container.id, timeout: 0n });
  });

  describe('limits', () => {
    const spdyHeaders = { Upgrade: 'SPDY/3.1', 'X-Stream-Protocol-Version': 'v4.channel.k8s.io' };
    const running = ['sh', '-c', 'sleep 3600'];

    it('of the request', async () => {
      const url = await execUrl(bed, target, 'true', { stdout: true });
      const long = upgrade(url, { headers: { ...spdyHeaders, 'X-Long': 'x'.repeat(20_000) } });
      expect((await upgradeRefusal(long)).status).to.equal(431);
      const other = upgrade(url, { headers: { Upgrade: 'h2c' } });
      expect(await upgradeRefusal(other)).to.include({ status: 400 });
    });

    it('of a control frame', async () => {
      const session = await exec('spdy', running);
      session.socket.write(control(1, Buffer.alloc(17_000)));
      await session.closed;
      await noExecCgroups(bed, target);
    });

    it('of streams', async () => {
      const url = await execUrl(bed, target, running, { stdout: true });
      const { socket, head } = await upgrade(url, { headers: spdyHeaders });
      const client = new SpdyClient(socket, head);
      for (let count = 0; count < 2000; count++) client.open({ streamType: 'unknown' });
      const last = client.open({ streamType: 'unknown' });
      await once(last, 'close');
      expect(client.openStreams).to.equal(0);
      socket.destroy();
    });

    it('of a header block', async () => {
      const url = await execUrl(bed, target, running, { stdout: true });
      const { socket, head } = await upgrade(url, { headers: spdyHeaders });
      const client = new SpdyClient(socket, head);
      client.open(Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`name-${index}`, 'x'])));
      await once(socket, 'close');
    });

    it('of a message', async () => {
      const url = await execUrl(bed, target, running, { stdin: true, stdout: true });
      const messages = await openMessages(url, ['v5.channel.k8s.io'], { onMessage: () => undefined });
      messages.sendFrame(2, Buffer.from([0]), 5 * 1024 * 1024);
      await once(messages.socket, 'close');
      expect(messages.closeCode()).to.equal(1009);
      await noExecCgroups(bed, target);
    });
  });
});

describe('idle streaming sessions', function () {
  let bed: Bed;
  let target: Workload;

  before(async () => {
    bed = await openBed({ settings: { 'streaming.idle_timeout_seconds': String(slowness) } });
    const pod = await runPod(bed, 'idle', hostNetwork);
    target = await runContainer(bed, pod, containerConfig(bed, 'target', ['sleep', '3600']));
  });
  after(async () => {
    await bed?.end();
  });

  for (const transport of transports) {
    it(`end over ${transport}, pings or not, but not while something moves`, async () => {
      const wanted = { stdin: true, stdout: true };
      const open = async (command: string): Promise<CommandSession> =>
        openCommand(await execUrl(bed, target, command, wanted), transport, wanted);
      const [idle, busy] = [await open('sleep 3600'), await open('cat')];
      const ping =
        transport === 'spdy' ? control(6, Buffer.from([0, 0, 0, 1])) : Buffer.from('898000000000', 'hex');
      const tick = setInterval(() => {
        if (!idle.socket.destroyed) idle.socket.write(ping);
        busy.stdin.write('x');
      }, 200);
      await idle.closed;
      await awaitText(busy.stdout, 'xxxxx');
      expect(busy.socket.destroyed).to.equal(false);
      clearInterval(tick);
      await busy.closed;
      await noExecCgroups(bed, target);
    });
  }
});

/** Asks until the terminal has the size: the input is not held up for a resize that was sent before. */
async function awaitSize({ stdin, stdout }: CommandSession, size: string): Promise<void> {
  let seen = '';
  stdin.write('\n');
  for await (const chunk of stdout.iterator({ destroyOnReturn: false })) {
    seen += (chunk as Buffer).toString();
    if (seen.includes(size)) return;
    // stty complains of a terminal that has no size yet.
    if (/(\d+ \d+|stty:.*)\r?\n/.test(seen)) {
      seen = '';
      stdin.write('\n');
    }
  }
  throw new Error(`the terminal never had the size ${size}`);
}

/** Reads until the text has come; what is behind it in the same chunk is dropped. */
async function awaitText(from: Readable, text: string): Promise<void> {
  let seen = '';
  for await (const chunk of from.iterator({ destroyOnReturn: false })) {
    seen += (chunk as Buffer).toString();
    if (seen.includes(text)) return;
  }
  throw new Error(`the stream ended without ${JSON.stringify(text)}: ${JSON.stringify(seen)}`);
}
