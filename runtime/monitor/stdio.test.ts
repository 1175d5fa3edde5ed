import { createHash } from 'node:crypto';
import { mkdir, readFile, unlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ReadStream } from 'node:tty';
import { expect } from 'chai';
import { closeFd, mount, pipe, setWindowSize, umount } from '../../native/index.js';
import { encodePlan } from '../plan/wire.js';
import type { MonitorClient } from './client.js';
import {
  MonitorScratch,
  Output,
  attachInput,
  execPlan,
  initPlan,
  logText,
  rejection,
  shell,
  whyNoMonitors,
} from './fixture.suite.js';

/** The monitor has it open until it has ended. */
const MNT_DETACH = 2;

const withStdin = { stdio: { tty: false, stdin: true, stdinOnce: false } };
const once = { stdio: { tty: false, stdin: true, stdinOnce: true } };
const terminal = { stdio: { tty: true, stdin: true, stdinOnce: false } };

function isLogLine(line: string): boolean {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) [FP] /.test(line);
}

async function attachOutput(
  monitor: MonitorClient,
): Promise<{ readonly stdout: Output; readonly stderr: Output }> {
  const stdout = new Output();
  const stderr = new Output();
  await monitor.attach({ stdout: stdout.writeEnd, stderr: stderr.writeEnd });
  return { stdout: stdout.handedOn(), stderr: stderr.handedOn() };
}

describe("a container's stdio", function () {
  let scratch: MonitorScratch;

  before(async function () {
    if (whyNoMonitors() !== undefined) this.skip();
    scratch = await MonitorScratch.open();
  });

  after(async () => {
    await scratch?.close();
  });

  it('goes to every attached client and to the log', async () => {
    const { monitor, log } = await scratch.launch(
      initPlan(shell('read x; echo "got $x"; echo err >&2')),
      once,
    );
    const clients = [await attachOutput(monitor), await attachOutput(monitor)];
    await monitor.start();
    const input = await attachInput(monitor);
    input.end('line\n');
    for (const { stdout, stderr } of clients) {
      expect(await stdout.end()).to.equal('got line\n');
      expect(await stderr.end()).to.equal('err\n');
    }
    await monitor.exited;
    expect(logText(await log(), 'stdout')).to.equal('got line\n');
  });

  it('ends the input with its first client where that is asked for, otherwise not', async () => {
    const first = await scratch.launch(initPlan(shell('cat; echo end')), once);
    await first.monitor.start();
    (await attachInput(first.monitor)).end('1\n');
    expect(await first.monitor.exited).to.include({ code: 0 });
    expect(logText(await first.log(), 'stdout')).to.equal('1\nend\n');

    const open = await scratch.launch(
      initPlan(shell('read a; read b; echo $a$b; read c || echo end')),
      withStdin,
    );
    await open.monitor.start();
    const { stdout } = await attachOutput(open.monitor);
    (await attachInput(open.monitor)).end('1\n');
    (await attachInput(open.monitor)).end('2\n');
    await stdout.until('12\n');
    await open.monitor.closeStdin();
    expect(await stdout.end()).to.equal('12\nend\n');
    await open.monitor.exited;
  });

  it('holds back the input that the container does not read', async () => {
    const { monitor, log } = await scratch.launch(initPlan(shell('read go; sha256sum')), once);
    const data = Buffer.alloc(3_000_000, 'abcdefg\n');
    await monitor.start();
    const input = await attachInput(monitor);
    input.write('go\n');
    input.end(data);
    await monitor.exited;
    expect(logText(await log(), 'stdout')).to.equal(
      `${createHash('sha256').update(data).digest('hex')}  -\n`,
    );
  });

  it('brings all output of a burst to the log and to a client that reads it', async () => {
    const lines = 400_000;
    const { monitor, log } = await scratch.launch(initPlan(['seq', '1', String(lines)]));
    const { stdout } = await attachOutput(monitor);
    await monitor.start();
    const [text] = await Promise.all([stdout.end(), monitor.exited]);
    const expected = Array.from({ length: lines }, (_, index) => `${index + 1}\n`).join('');
    expect(text === expected).to.equal(true);
    expect(logText(await log(), 'stdout') === expected).to.equal(true);
  }).timeout(30_000);

  it('drops a client that does not read, and logs on', async () => {
    const { monitor, log } = await scratch.launch(initPlan(['seq', '1', '300000']));
    const [readEnd, writeEnd] = pipe();
    await monitor.attach({ stdout: writeEnd });
    closeFd(writeEnd);
    await monitor.start();
    expect(await monitor.exited).to.include({ code: 0 });
    closeFd(readEnd);
    expect(logText(await log(), 'stdout').endsWith('\n300000\n')).to.equal(true);
    expect(scratch.messages).to.include('attach client dropped: it did not read its output');
  });

  it('refuses one client too many, and takes another when one has gone', async () => {
    const { monitor } = await scratch.launch(initPlan(shell('read x')), withStdin);
    await monitor.start();
    const clients = await Promise.all(Array.from({ length: 16 }, () => attachOutput(monitor)));
    const extra = new Output();
    const refused = await rejection(monitor.attach({ stdout: extra.writeEnd }));
    expect(refused).to.include({ code: 'ResourceExhausted', op: 'too many attach clients' });
    clients[3]?.stdout.socket.destroy();
    clients[3]?.stderr.socket.destroy();
    await clients[3]?.stdout.end();
    await clients[3]?.stderr.end();
    await monitor.attach({ stdout: extra.writeEnd });
    extra.handedOn();
    await monitor.closeStdin();
    await extra.end();
    await monitor.exited;
  });

  it('refuses descriptors that cannot be waited for', async () => {
    const { monitor } = await scratch.launch(initPlan(shell('read x')), withStdin);
    expect(await rejection(monitor.attach({}))).to.have.property(
      'op',
      'one pipe or socket per stream is needed',
    );
    await monitor.signal(9);
    await monitor.exited;
  });

  it('survives attaching and leaving thousands of times', async () => {
    const { monitor } = await scratch.launch(initPlan(shell('read x')), withStdin);
    await monitor.start();
    for (let round = 0; round < 2000; round++) {
      const [readEnd, writeEnd] = pipe();
      await monitor.attach({ stdout: writeEnd });
      closeFd(writeEnd);
      closeFd(readEnd);
    }
    await monitor.closeStdin();
    expect(await monitor.exited).to.include({ code: 1 });
  }).timeout(30_000);

  it('survives output without newlines, with NULs, and of one endless line', async () => {
    const size = 20_000_000;
    const { monitor, log } = await scratch.launch(initPlan(['head', '-c', String(size), '/dev/zero']));
    await monitor.start();
    await monitor.exited;
    const text = logText(await log(), 'stdout');
    expect(text.length).to.equal(size);
    expect(text.replaceAll('\0', '')).to.equal('');
  }).timeout(30_000);

  it('keeps the log whole, and says what is lost, while the disk is full', async () => {
    const full = path.join(scratch.directory, 'full');
    await mkdir(full);
    mount('tmpfs', full, 'tmpfs', 0, 'size=4m');
    try {
      // Removed, it leaves room for all of the output: attach clients see it before the log has it.
      await writeFile(`${full}/filler`, Buffer.alloc(3.5 * 1024 * 1024));
      const script = 'seq 1 20000; echo full; read x; echo "with room again"; read x';
      const { monitor } = await scratch.launch(initPlan(shell(script)), {
        ...withStdin,
        log: { directory: full, path: '0.log' },
      });
      const { stdout } = await attachOutput(monitor);
      await monitor.start();
      await stdout.until('full\n');
      await unlink(`${full}/filler`);
      const input = await attachInput(monitor);
      input.write('\n');
      await stdout.until('with room again\n');
      await monitor.closeStdin();
      const { logLostBytes } = await monitor.exited;
      const log = await readFile(`${full}/0.log`, 'utf8');
      expect(
        log
          .split('\n')
          .slice(0, -1)
          .filter((line) => !isLogLine(line)),
      ).to.deep.equal([]);
      const notices = [...log.matchAll(/stderr F podwright: (\d+) bytes of output lost: no space left\n/g)];
      expect(notices.reduce((sum, [, bytes]) => sum + BigInt(bytes ?? 0), 0n)).to.equal(logLostBytes);
      expect(notices).not.to.be.empty;
      const written = logText(log, 'stdout');
      expect(written.endsWith('\nwith room again\n')).to.equal(true);
      expect(BigInt(written.length) + logLostBytes).to.equal(BigInt((await stdout.end()).length));
      expect(scratch.messages).to.include('container output is being lost: the log cannot be written');
    } finally {
      umount(full, MNT_DETACH);
    }
  });

  describe('on a terminal', () => {
    it('has a size that can be changed, and a log without carriage returns', async () => {
      const { monitor, log } = await scratch.launch(
        initPlan(shell('stty size; read x; stty size; echo done; test -t 0 && test -t 1'), { tty: true }),
        terminal,
      );
      const { stdout } = await attachOutput(monitor);
      await monitor.start();
      await stdout.until('24 80');
      await monitor.resize(132, 50);
      (await attachInput(monitor)).end('\n');
      expect(await stdout.end()).to.equal('24 80\r\n\r\n50 132\r\ndone\r\n');
      expect(await monitor.exited).to.include({ code: 0 });
      expect(logText(await log(), 'stdout')).to.equal('24 80\n\n50 132\ndone\n');
    });

    it('brings all that was written before the end', async () => {
      const { monitor, log } = await scratch.launch(initPlan(shell('seq 1 100000'), { tty: true }), terminal);
      await monitor.start();
      await monitor.exited;
      expect(logText(await log(), 'stdout')).to.equal(
        Array.from({ length: 100_000 }, (_, index) => `${index + 1}\n`).join(''),
      );
    });

    it('lives on while nobody has it open', async () => {
      const script =
        'exec </dev/null >/dev/null 2>&1; sleep 0.1; exec </dev/tty >/dev/tty; echo back; read x; echo $x';
      const { monitor } = await scratch.launch(initPlan(shell(script), { tty: true }), terminal);
      const { stdout } = await attachOutput(monitor);
      await monitor.start();
      await stdout.until('back');
      (await attachInput(monitor)).end('again\n');
      expect(await stdout.end()).to.contain('again');
    });

    it('cannot be resized where there is none', async () => {
      const { monitor } = await scratch.launch(initPlan(shell('true')));
      expect(await rejection(monitor.resize(80, 24))).to.have.property('code', 'ENOTTY');
      await monitor.start();
      await monitor.exited;
    });

    it('is handed out for an executed process', async () => {
      const { monitor } = await scratch.launch(initPlan(shell('exec sleep 300')));
      await monitor.start();
      const plan = encodePlan(execPlan(shell('stty size; read x; echo "<$x>"'), { tty: true }));
      const { terminal: master, exited } = await monitor.exec({ plan, tty: true });
      expect(master).to.be.a('number');
      if (master === undefined) return;
      setWindowSize(master, 100, 30);
      const socket = new ReadStream(master);
      socket.on('error', () => undefined);
      socket.write('hello\n');
      await new Promise<void>((resolve) => {
        let text = '';
        socket.on('data', (chunk) => {
          text += chunk.toString();
          if (text.includes('<hello>')) resolve();
        });
      });
      expect(await exited).to.include({ code: 0 });
      socket.destroy();
      await monitor.signal(9);
      await monitor.exited;
    });
  });
});
