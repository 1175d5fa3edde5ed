import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir, rename, rmdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import {
  closeFd,
  pidfdOpen,
  pidfdSendSignal,
  seqpacketConnect,
  waitPidfd,
  type Fd,
  type SeqpacketSocket,
} from '../../native/index.js';
import { StepError } from '../errors.js';
import type { PlanStep } from '../plan/steps.js';
import { encodePlan } from '../plan/wire.js';
import {
  MonitorScratch,
  Output,
  attachInput,
  changed,
  execPlan,
  holds,
  initPlan,
  logText,
  makeFifo,
  rejection,
  shell,
  whyNoMonitors,
} from './fixture.suite.js';
import { closeFds, openDirectory, openNull } from './descriptors.js';
import { readExitRecord } from './exit-record.js';
import { MONITOR_SOCKET_NAME } from './frames.js';

/** A connection after its hello. */
function connectRaw(directory: Fd): Promise<SeqpacketSocket> {
  return new Promise((resolve) => {
    const socket = seqpacketConnect(directory, MONITOR_SOCKET_NAME, {
      onPacket: ({ fds }) => {
        closeFds(fds);
        resolve(socket);
      },
      onClose: () => undefined,
    });
  });
}

describe('a monitor', function () {
  let scratch: MonitorScratch;

  before(async function () {
    if (whyNoMonitors() !== undefined) this.skip();
    scratch = await MonitorScratch.open();
  });

  after(async () => {
    await scratch?.close();
  });

  describe('of a container', () => {
    it('holds init at the fifo, starts it, logs its output and tells its end', async () => {
      const { monitor, stateDir, log } = await scratch.launch(
        initPlan(shell('echo out; echo err >&2; exit 7')),
      );
      expect(monitor.init.pid).to.be.greaterThan(1);
      expect(await log()).to.equal('');
      const { atNs } = await monitor.start();
      const exit = await monitor.exited;
      expect(exit).to.include({ code: 7, signal: 0, oomKilled: false, lost: false, failure: undefined });
      expect(exit.startedAtNs).to.equal(atNs);
      expect(exit.finishedAtNs >= atNs).to.equal(true);
      expect(logText(await log(), 'stdout')).to.equal('out\n');
      expect(logText(await log(), 'stderr')).to.equal('err\n');
      expect(await readExitRecord(stateDir)).to.deep.equal(exit);
      expect(await readdir(stateDir)).to.deep.equal(['exit']);
    });

    it('undoes everything when a step of the plan fails, and names the step', async () => {
      const missing: PlanStep = { kind: 'chdir', path: '/nowhere', create: false };
      const plan = initPlan(shell('true'), { steps: [missing] });
      const error = await rejection(scratch.launch(plan));
      expect(error).to.be.instanceOf(StepError);
      expect((error as StepError).failure).to.include({ list: 1, kind: 70, errno: 2 });
      expect(plan.child[(error as StepError).failure.index ?? -1]).to.equal(missing);
      expect(await readdir(scratch.lastStateDir)).to.deep.equal([]);
      expect(existsSync(scratch.lastLog)).to.equal(false);
    });

    it('refuses a state directory that holds another container, and leaves that alone', async () => {
      const { monitor, stateDir } = await scratch.launch(initPlan(shell('exit 0')));
      const error = await rejection(scratch.launch(initPlan(shell('exit 0')), { stateDir }));
      expect(error).to.include({ syscall: 'bind', code: 'EADDRINUSE' });
      await monitor.start();
      expect(await monitor.exited).to.include({ code: 0 });
    });

    it('tells why a command cannot be executed, then ends with 128', async () => {
      const { monitor, stateDir } = await scratch.launch(initPlan(['/no/such/command']));
      const error = await rejection(monitor.start());
      expect(error).to.be.instanceOf(StepError);
      expect((error as StepError).failure).to.include({ list: 1, kind: 74, errno: 2 });
      const exit = await monitor.exited;
      expect(exit).to.include({ code: 128, signal: 0 });
      expect(exit.failure).to.deep.equal((error as StepError).failure);
      expect(await readExitRecord(stateDir)).to.deep.equal(exit);
    });

    it('tells the end of an init that was killed before its start', async () => {
      const { monitor } = await scratch.launch(initPlan(shell('true')));
      await monitor.signal(9);
      expect(await monitor.exited).to.include({ code: 137, signal: 9, startedAtNs: 0n, oomKilled: false });
      expect(await rejection(monitor.start())).to.have.property('code', 'FailedPrecondition');
      expect(await rejection(monitor.signal(15))).to.have.property('code', 'ESRCH');
    });

    it('starts once, and says so again to a daemon that asks anew', async () => {
      const { monitor } = await scratch.launch(initPlan(shell('read x; exit 4')), {
        stdio: { tty: false, stdin: true, stdinOnce: false },
      });
      const { atNs } = await monitor.start();
      expect(await monitor.start()).to.deep.equal({ atNs });
      await monitor.closeStdin();
      expect(await monitor.exited).to.include({ code: 4 });
    });

    it('does not wait for a background process that holds the output', async () => {
      const background = initPlan(shell('sleep 300 & echo $!'), { cloneFlags: 0 });
      const { monitor, log } = await scratch.launch(background);
      await monitor.start();
      expect(await monitor.exited).to.include({ code: 0 });
      const pid = Number(logText(await log(), 'stdout'));
      const pidfd = pidfdOpen(pid);
      pidfdSendSignal(pidfd, 9);
      await waitPidfd(pidfd);
    });

    it('gives up with its caller and leaves nothing', async () => {
      const fifo = path.join(scratch.directory, 'nobody-writes');
      await makeFifo(fifo);
      const stuck: PlanStep = { kind: 'open', out: 20, path: fifo, flags: 0 };
      const plan = { ...initPlan(shell('true')), parent: [stuck, ...initPlan([]).parent] };
      const controller = new AbortController();
      const launched = rejection(scratch.launch(plan, {}, controller.signal));
      await mkdir(scratch.lastStateDir, { recursive: true });
      await changed(scratch.lastStateDir, async () =>
        existsSync(path.join(scratch.lastStateDir, 'monitor.sock')),
      );
      controller.abort();
      expect(await launched).to.have.property('name', 'AbortError');
      expect(await readdir(scratch.lastStateDir)).to.deep.equal([]);
    });

    it('needs no daemon: adopted later, it tells what happened', async () => {
      const { monitor, stateDir } = await scratch.launch(initPlan(shell('read x; exit 5')), {
        stdio: { tty: false, stdin: true, stdinOnce: false },
      });
      const { atNs } = await monitor.start();
      monitor.close();
      const adopted = await scratch.monitors.adopt(stateDir);
      expect(adopted).to.include({ phase: 'running', startedAtNs: atNs });
      expect(adopted?.monitor.init).to.deep.equal(monitor.init);
      await adopted?.monitor.closeStdin();
      expect(await adopted?.monitor.exited).to.include({ code: 5 });
      expect(await scratch.monitors.adopt(stateDir)).to.equal(undefined);
      expect(await scratch.monitors.readExit(stateDir)).to.include({ code: 5 });
    });

    it('is lost when it is killed', async () => {
      const { monitor, pid } = await scratch.launch(initPlan(shell('sleep 300')));
      await monitor.start();
      const init = pidfdOpen(monitor.init.pid);
      const pidfd = pidfdOpen(await pid());
      pidfdSendSignal(pidfd, 9);
      await waitPidfd(pidfd);
      expect(await monitor.exited).to.include({ code: 255, lost: true });
      pidfdSendSignal(init, 9);
      await waitPidfd(init);
    });

    it('is killed with all it has started when no record knows it', async () => {
      const { monitor, pid, containerId } = await scratch.launch(initPlan(shell('sleep 300')));
      await monitor.start();
      const init = waitPidfd(pidfdOpen(monitor.init.pid));
      const ended = waitPidfd(pidfdOpen(await pid()));
      await scratch.monitors.killStray(new Set([containerId, 'another']));
      await Promise.all([init, ended]);
      expect(await monitor.exited).to.include({ lost: true });
    });

    it('reopens its log by name', async () => {
      const { monitor, log, logPath } = await scratch.launch(
        initPlan(shell('while read x; do echo $x; done')),
        {
          stdio: { tty: false, stdin: true, stdinOnce: false },
        },
      );
      await monitor.start();
      const input = await attachInput(monitor);
      input.write('before\n');
      await holds(logPath, 'before');
      await rename(logPath, `${logPath}.1`);
      await monitor.reopenLog();
      input.end('after\n');
      await holds(logPath, 'after');
      await monitor.closeStdin();
      await monitor.exited;
      expect(logText(await log(), 'stdout')).to.equal('after\n');
      expect(logText(await readFile(`${logPath}.1`, 'utf8'), 'stdout')).to.equal('before\n');
    });

    it('refuses a log outside of its directory', async () => {
      for (const bad of ['../escape.log', '/tmp/escape.log', 'a/../../x', 'a//b', 'a/.', '']) {
        const directory = path.join(scratch.directory, 'logs');
        const error = await rejection(
          scratch.launch(initPlan(shell('true')), { log: { directory, path: bad } }),
        );
        expect(error, bad).to.include({ syscall: 'openat2' });
      }
    });

    it('leaves nothing of a container whose log cannot be opened', async () => {
      const stateDir = path.join(scratch.directory, 'without-log');
      const ran = path.join(scratch.directory, 'ran-without-log');
      const log = { directory: scratch.directory, path: 'without-log' };
      const error = await rejection(scratch.launch(initPlan(shell(`: > ${ran}`)), { stateDir, log }));
      expect(error).to.include({ syscall: 'openat2', code: 'EISDIR' });
      expect(await readdir(stateDir)).to.deep.equal([]);
      expect(existsSync(ran)).to.equal(false);
    });
  });

  it('outlives frames that make no sense, and keeps none of their descriptors', async () => {
    const { monitor, stateDir, pid } = await scratch.launch(initPlan(shell('exec sleep 300')));
    await monitor.start();
    const openFiles = async (): Promise<number> => (await readdir(`/proc/${await pid()}/fd`)).length;
    const before = await openFiles();
    const fd = openNull();
    const directory = openDirectory(stateDir);
    const types = [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 13, 14, 15, 16, 17, 18, 19, 20, 999];
    for (let round = 0; round < 300; round++) {
      const socket = await connectRaw(directory);
      for (let packet = 0; packet < 5; packet++) {
        const data = randomBytes(8 + ((4 * (randomBytes(1)[0] ?? 0)) % 64));
        data.writeUInt16LE(types[(randomBytes(1)[0] ?? 0) % types.length] ?? 0, 0);
        if (data.length > 16) data.writeUInt32LE((4 << 16) | ((randomBytes(1)[0] ?? 0) % 32), 8);
        try {
          socket.send(
            data,
            Array.from({ length: (randomBytes(1)[0] ?? 0) % 8 }, () => fd),
          );
        } catch {
          break; // dropped
        }
      }
      socket.close();
    }
    closeFd(fd);
    closeFd(directory);
    // An answer after all of that: everything before it has been handled.
    const later = await scratch.monitors.adopt(stateDir);
    expect(later?.phase).to.equal('running');
    later?.monitor.close();
    await monitor.reopenLog();
    expect(await openFiles()).to.be.at.most(before + 1);
    await monitor.signal(9);
    expect(await monitor.exited).to.include({ code: 137, lost: false });
  });

  describe('and memory', () => {
    const cgroup = `/sys/fs/cgroup/memory/podwright-monitor-test-${process.pid}`;
    const join: readonly PlanStep[] = [
      { kind: 'open', out: 20, path: `${cgroup}/cgroup.procs`, flags: 1 },
      { kind: 'write', slot: 20, data: Buffer.from('0') },
      { kind: 'close', slot: 20 },
    ];

    beforeEach(async function () {
      if (!existsSync('/sys/fs/cgroup/memory/memory.limit_in_bytes')) this.skip();
      await mkdir(cgroup);
    });

    afterEach(async () => {
      if (existsSync(cgroup)) await rmdir(cgroup);
    });

    it('tells a kill by the kernel for memory from the counter', async () => {
      await writeFile(`${cgroup}/memory.limit_in_bytes`, String(16 << 20));
      const { monitor } = await scratch.launch(
        initPlan(shell('exec head -c 200m /dev/zero | tail | wc'), { steps: join }),
        {
          oomPath: `${cgroup}/memory.oom_control`,
        },
      );
      await monitor.start();
      const exit = await monitor.exited;
      expect(exit.oomKills > 0n).to.equal(true);
    });

    it('tells a kill of init itself', async () => {
      await writeFile(`${cgroup}/memory.limit_in_bytes`, String(16 << 20));
      const { monitor } = await scratch.launch(initPlan(['tail', '/dev/zero'], { steps: join }), {
        oomPath: `${cgroup}/memory.oom_control`,
      });
      await monitor.start();
      expect(await monitor.exited).to.include({ code: 137, signal: 9, oomKilled: true, oomKills: 1n });
    });

    it('does not take a kill for one', async () => {
      const { monitor } = await scratch.launch(
        initPlan(shell('kill -9 $$'), { steps: join, cloneFlags: 0 }),
        {
          oomPath: `${cgroup}/memory.oom_control`,
        },
      );
      await monitor.start();
      expect(await monitor.exited).to.include({ code: 137, signal: 9, oomKilled: false, oomKills: 0n });
    });

    it('kills the rest of the cgroup when init ends, where others share its pid namespace', async () => {
      const plan = initPlan(shell('sleep 300 & sleep 301 & exit 0'), { steps: join, cloneFlags: 0 });
      const { monitor } = await scratch.launch(plan, {
        killPath: `${cgroup}/cgroup.procs`,
        killCgroup: true,
      });
      await monitor.start();
      expect(await monitor.exited).to.include({ code: 0 });
      expect(await readFile(`${cgroup}/cgroup.procs`, 'utf8')).to.equal('');
    });
  });

  describe('and executed processes', () => {
    it('runs a command beside init and tells its end', async () => {
      const { monitor } = await scratch.launch(initPlan(shell('exec sleep 300')));
      await monitor.start();
      const stdout = new Output();
      const plan = encodePlan(execPlan(shell('echo hi; exit 3')));
      const execution = await monitor.exec({ plan, stdout: stdout.writeEnd });
      stdout.handedOn();
      expect(await execution.exited).to.deep.equal({ code: 3, signal: 0 });
      expect(await stdout.end()).to.equal('hi\n');
      await monitor.signal(9);
      expect(await monitor.exited).to.include({ code: 137, signal: 9 });
    });

    it('runs one by the helper of a daemon that has started since', async () => {
      const { monitor, stateDir } = await scratch.launch(initPlan(shell('exec sleep 300')));
      await monitor.start();
      const daemon = await MonitorScratch.open();
      const later = await daemon.monitors.adopt(stateDir);
      const stdout = new Output();
      const plan = encodePlan(execPlan(shell('echo hi; exit 3')));
      const execution = await later?.monitor.exec({ plan, stdout: stdout.writeEnd });
      stdout.handedOn();
      expect(await execution?.exited).to.deep.equal({ code: 3, signal: 0 });
      expect(await stdout.end()).to.equal('hi\n');
      later?.monitor.close();
      await daemon.close();
      await monitor.signal(9);
      await monitor.exited;
    });

    it('tells the step that failed', async () => {
      const { monitor } = await scratch.launch(initPlan(shell('exec sleep 300')));
      await monitor.start();
      const error = await rejection(monitor.exec({ plan: encodePlan(execPlan(['/no/such'])) }));
      expect((error as StepError).failure).to.include({ list: 1, kind: 74, errno: 2 });
      expect(await rejection(monitor.exec({ plan: Buffer.from('nonsense') }))).to.be.instanceOf(StepError);
      await monitor.signal(9);
      await monitor.exited;
    });

    it('kills one on request, and all of a client that leaves', async () => {
      const { monitor, stateDir } = await scratch.launch(initPlan(shell('exec sleep 300')));
      await monitor.start();
      const plan = encodePlan(execPlan(shell('exec sleep 300')));
      const killed = await monitor.exec({ plan });
      await killed.kill();
      expect(await killed.exited).to.deep.equal({ code: 137, signal: 9 });
      await killed.kill();

      const other = await scratch.monitors.adopt(stateDir);
      const left = await other?.monitor.exec({ plan });
      const pidfd = pidfdOpen(left?.pid ?? 0);
      other?.monitor.close();
      await waitPidfd(pidfd);
      expect(await rejection(left?.exited ?? Promise.resolve())).to.have.property('code', 'Unavailable');
      await monitor.signal(9);
      await monitor.exited;
    });

    it('runs many at once, and refuses one too many', async () => {
      const { monitor } = await scratch.launch(initPlan(shell('exec sleep 300')));
      await monitor.start();
      const plan = encodePlan(execPlan(shell('exec sleep 300')));
      const started = await Promise.all(Array.from({ length: 256 }, () => monitor.exec({ plan })));
      expect(await rejection(monitor.exec({ plan }))).to.have.property('code', 'ResourceExhausted');
      await Promise.all(started.map((execution) => execution.kill()));
      const ends = await Promise.all(started.map((execution) => execution.exited));
      expect(ends.every(({ code }) => code === 137)).to.equal(true);
      const again = await monitor.exec({ plan: encodePlan(execPlan(shell('exit 9'))) });
      expect(await again.exited).to.include({ code: 9 });
      await monitor.signal(9);
      await monitor.exited;
    }).timeout(30_000);

    for (const parent of ['/sys/fs/cgroup/unified', '/sys/fs/cgroup/freezer']) {
      it(`kills and removes a sub-cgroup of ${parent}`, async function () {
        if (!existsSync(`${parent}/cgroup.procs`)) this.skip();
        const cgroupPath = `${parent}/podwright-monitor-test-${process.pid}`;
        await mkdir(cgroupPath);
        const { monitor } = await scratch.launch(initPlan(shell('exec sleep 300')));
        await monitor.start();
        const join: readonly PlanStep[] = [
          { kind: 'open', out: 20, path: `${cgroupPath}/cgroup.procs`, flags: 1 },
          { kind: 'write', slot: 20, data: Buffer.from('0') },
          { kind: 'close', slot: 20 },
        ];
        const stdout = new Output();
        const plan = encodePlan(
          execPlan(shell('setsid sleep 300 & echo $!; exec sleep 301'), { steps: join }),
        );
        const execution = await monitor.exec({ plan, cgroupPath, stdout: stdout.writeEnd });
        stdout.handedOn();
        const background = waitPidfd(pidfdOpen(Number(await stdout.until('\n'))));
        await execution.kill();
        expect(await execution.exited).to.include({ code: 137 });
        await background;
        await monitor.signal(9);
        await monitor.exited;
        expect(existsSync(cgroupPath)).to.equal(false);
      });
    }
  });
});
