import { expect } from 'chai';
import { once } from 'node:events';
import { readFileSync, readdirSync, readlinkSync, openSync, closeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import {
  SystemError,
  closeFd,
  dupFd,
  pidfdOpen,
  pidfdSendSignal,
  pipe,
  raiseFileLimit,
  readFiles,
  sealedMemfd,
  setUmask,
  setWorkersAside,
  spawn,
  waitPidfd,
} from './index.js';
import type { Fd, SpawnOptions } from './index.js';
import { openDescriptors } from './scratch.js';

const SIGKILL = 9;
const SLEEP = { file: '/bin/sleep', argv: ['sleep', '60'] };

/** Runs a sleeper, looks at it through /proc and kills it. */
async function inspect<T>(options: SpawnOptions, look: (proc: string) => T): Promise<T> {
  const { pid, pidfd } = spawn(options);
  try {
    await asleep(pid);
    return look(`/proc/${pid}`);
  } finally {
    pidfdSendSignal(pidfd, SIGKILL);
    await waitPidfd(pidfd);
  }
}

/** Until then the dynamic loader has descriptors of its own. */
async function asleep(pid: number): Promise<void> {
  while (!readFileSync(`/proc/${pid}/wchan`, 'latin1').includes('nanosleep'))
    await new Promise((resolve) => setImmediate(resolve));
}

function descriptorsOf(proc: string): Record<string, string> {
  return Object.fromEntries(readdirSync(`${proc}/fd`).map((fd) => [fd, readlinkSync(`${proc}/fd/${fd}`)]));
}

async function output(options: Omit<SpawnOptions, 'fds'>): Promise<string> {
  const [readEnd, writeEnd] = pipe();
  const { pidfd } = spawn({ ...options, fds: [null, writeEnd, 2] });
  closeFd(writeEnd);
  await waitPidfd(pidfd);
  const text = readFileSync(readEnd, 'utf8');
  closeFd(readEnd);
  return text;
}

describe('spawn', () => {
  it('gives the child exactly the descriptors named, whatever their numbers', async () => {
    const files = Array.from({ length: 30 }, () => openSync('/proc/self/status', 'r'));
    const pipes = Array.from({ length: 10 }, () => pipe()).flat();
    // Reversed, so that most sources are some other entry's target; the middle one is its own.
    const highest = Math.max(...files, ...pipes);
    const fds: (Fd | null)[] = Array.from({ length: highest + 1 }, (_, i) => {
      const source = highest - i;
      return files.includes(source) || pipes.includes(source) ? source : null;
    });
    const self = pipes[3] ?? 0;
    fds[self] = self;
    const expected = Object.fromEntries(
      fds.map((fd, i) => [String(i), fd === null ? '/dev/null' : readlinkSync(`/proc/self/fd/${fd}`)]),
    );
    const found = await inspect({ ...SLEEP, fds }, descriptorsOf);
    [...files, ...pipes].forEach((fd) => closeFd(fd));
    expect(found).to.deep.equal(expected);
  });

  it('leaves no descriptor open that was not asked for', async () => {
    const before = openDescriptors();
    expect(await inspect({ ...SLEEP, fds: [] }, descriptorsOf)).to.deep.equal({});
    expect(openDescriptors()).to.be.at.most(before + 1);
  });

  it('executes a sealed memfd without handing it on', async () => {
    const program = sealedMemfd('sleeper', readFileSync('/bin/sleep'), true);
    const found = await inspect({ file: program, argv: ['sleep', '60'], fds: [null, null] }, (proc) => ({
      fds: descriptorsOf(proc),
      exe: readlinkSync(`${proc}/exe`),
      arguments: readFileSync(`${proc}/cmdline`, 'latin1'),
    }));
    closeFd(program);
    expect(found).to.deep.equal({
      fds: { 0: '/dev/null', 1: '/dev/null' },
      exe: '/memfd:sleeper (deleted)',
      arguments: 'sleep\x0060\0',
    });
  });

  it('starts a session with clean signals, our umask and the directory asked for', async () => {
    const umask = setUmask(0o022);
    const ignore = (): void => undefined;
    process.on('SIGUSR2', ignore);
    const found = await inspect({ ...SLEEP, fds: [], cwd: '/usr' }, (proc) => ({
      status: readFileSync(`${proc}/status`, 'utf8'),
      session: readFileSync(`${proc}/stat`, 'latin1').split(' ')[5],
      pid: proc.slice('/proc/'.length),
      cwd: readlinkSync(`${proc}/cwd`),
      environment: readFileSync(`${proc}/environ`, 'latin1'),
    }));
    process.off('SIGUSR2', ignore);
    setUmask(umask);
    expect(found.session).to.equal(found.pid);
    expect(found.cwd).to.equal('/usr');
    expect(found.environment).to.equal('');
    expect(found.status).to.match(/^Umask:\t0022$/m);
    for (const set of ['SigBlk', 'SigIgn', 'SigCgt'])
      expect(found.status).to.match(new RegExp(`^${set}:\t0{16}$`, 'm'));
  });

  it('passes arguments and environment as they are', async () => {
    const text = await output({ file: '/bin/sh', argv: ['sh', '-c', 'echo "$0-$A"', 'ä b'], env: ['A=x y'] });
    expect(text).to.equal('ä b-x y\n');
  });

  it('reports what failed and leaks nothing', () => {
    const before = openDescriptors();
    const failing = (options: Partial<SpawnOptions>): SystemError => {
      try {
        spawn({ ...SLEEP, fds: [], ...options });
      } catch (error) {
        if (error instanceof SystemError) return error;
        throw error;
      }
      throw new Error('spawned');
    };
    expect(failing({ file: '/nowhere' })).to.include({
      syscall: 'posix_spawn',
      code: 'ENOENT',
      path: '/nowhere',
    });
    expect(failing({ cwd: '/nowhere' })).to.include({ code: 'ENOENT' });
    expect(failing({ file: '/etc' })).to.include({ code: 'EACCES' });
    expect(failing({ fds: [9999] })).to.include({ code: 'EBADF' });
    expect(failing({ fds: [-7] })).to.include({ code: 'EBADF' });
    expect(failing({ file: '/bin/true\0x' })).to.include({ code: 'EINVAL' });
    expect(openDescriptors()).to.equal(before);
  });
});

describe('waitPidfd', () => {
  it('returns the status of many children at once', async () => {
    const codes = Array.from({ length: 40 }, (_, i) => i);
    const statuses = await Promise.all(
      codes.map((code) =>
        waitPidfd(spawn({ file: '/bin/sh', argv: ['sh', '-c', `exit ${code}`], fds: [] }).pidfd),
      ),
    );
    expect(statuses).to.deep.equal(codes.map((code) => ({ code, signal: 0 })));
  });

  it('tells the signal', async () => {
    const { pidfd } = spawn({ ...SLEEP, fds: [] });
    pidfdSendSignal(pidfd, SIGKILL);
    const copy = dupFd(pidfd);
    expect(await waitPidfd(pidfd)).to.deep.equal({ code: 137, signal: SIGKILL });
    expect(() => pidfdSendSignal(copy, 0)).to.throw(SystemError, /pidfd_send_signal: ESRCH/);
    closeFd(copy);
  });

  it('sees the end of a process that is not our child, without a status', async () => {
    const pid = Number(
      await output({ file: '/bin/sh', argv: ['sh', '-c', 'sleep 60 >/dev/null & echo $!'] }),
    );
    const pidfd = pidfdOpen(pid);
    const ended = waitPidfd(dupFd(pidfd));
    pidfdSendSignal(pidfd, SIGKILL);
    expect(await ended).to.equal(undefined);
    closeFd(pidfd);
  });

  it('rejects what is no pidfd', async () => {
    const failure = async (fd: Fd): Promise<unknown> => waitPidfd(fd).catch((error: unknown) => error);
    expect(await failure(9999)).to.include({ code: 'EBADF' });
    const [readEnd, writeEnd] = pipe();
    closeFd(writeEnd);
    expect(await failure(readEnd)).to.include({ syscall: 'waitid' });
  });
});

describe('the addon', () => {
  it('ends with its worker thread, open handles included', async () => {
    const worker = new Worker(
      `import(${JSON.stringify(new URL('./index.js', import.meta.url).href)}).then((native) => {
        native.openInotify(() => {});
        const [a, b] = native.seqpacketPair();
        native.seqpacketOpen(a, { onPacket() {}, onClose() {} });
        require('node:worker_threads').parentPort.postMessage('ready');
      })`,
      { eval: true },
    );
    await once(worker, 'message');
    expect(await worker.terminate()).to.equal(1);
  });

  it('survives the end of its thread or process in the middle of its work', async () => {
    const work = `import(${JSON.stringify(new URL('./index.js', import.meta.url).href)}).then((native) => {
      void native.diskUsage('/usr');
      for (let i = 0; i < 8; i++) void native.readFiles(Array(300).fill('/proc/self/status'));
      void native.waitPidfd(native.spawn({ file: '/bin/true', argv: ['true'], fds: [] }).pidfd);
      END
    })`;
    for (let i = 0; i < 5; i++) {
      const end = `require('node:worker_threads').parentPort.postMessage('working')`;
      const worker = new Worker(work.replace('END', end), { eval: true });
      await once(worker, 'message');
      expect(await worker.terminate()).to.equal(1);
    }
    const { pidfd } = spawn({
      file: process.execPath,
      argv: ['node', '-e', work.replace('END', 'process.exit(3)')],
      fds: [null, 2, 2],
    });
    expect(await waitPidfd(pidfd)).to.deep.equal({ code: 3, signal: 0 });
  });

  it('refuses arguments of a wrong type', () => {
    const fd: unknown = 'x';
    expect(() => closeFd(fd as Fd)).to.throw(TypeError);
    expect(() => closeFd(1.5)).to.throw(TypeError);
  });

  it('raises the limit of open files to the hard one', () => {
    const limit = raiseFileLimit();
    const line = /^Max open files\s+(\d+)\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
    expect([line?.[1], line?.[2]]).to.deep.equal([String(limit), String(limit)]);
  });

  it('sets all threads aside but the main one, and no child', async () => {
    await readFiles(['/proc/self/stat']); // starts the thread pool
    const [SCHED_OTHER, SCHED_BATCH] = ['0', '3'];
    const policyOf = (thread: string): string | undefined => {
      const stat = readFileSync(`/proc/${thread}/stat`, 'latin1');
      return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[38];
    };
    const own = policyOf('self');
    const aside = own === SCHED_OTHER ? SCHED_BATCH : own;
    const threads = readdirSync('/proc/self/task').filter((thread) => thread !== String(process.pid));
    setWorkersAside();
    expect(threads.length).to.be.at.least(5);
    expect(new Set(threads.map((thread) => policyOf(`self/task/${thread}`)))).to.deep.equal(new Set([aside]));
    expect(policyOf('self')).to.equal(own);
    expect(await inspect({ ...SLEEP, fds: [] }, (proc) => policyOf(proc.slice('/proc/'.length)))).to.equal(
      own,
    );
  });

  it('opens every descriptor close-on-exec', () => {
    const [readEnd, writeEnd] = pipe();
    const memfd = sealedMemfd('m', Buffer.from('x'), false);
    const copy = dupFd(readEnd);
    for (const fd of [readEnd, writeEnd, memfd, copy]) {
      expect(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')).to.match(/^flags:\t0*2\d{6}$/m);
      closeSync(fd);
    }
  });
});
