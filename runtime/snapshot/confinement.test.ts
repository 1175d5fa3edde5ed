import { expect } from 'chai';
import { constants } from 'node:fs';
import { open, readdir, readFile, readlink, type FileHandle } from 'node:fs/promises';
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { closeFd, pidfdSendSignal, pipe, spawn, waitPidfd } from '../../native/index.js';
import { tarEntry } from './tar.fixture.js';
import { isRoot, makePlace, unpackerPath, type Place } from './unpack.fixture.js';

const CHOWN = 0;
const DAC_OVERRIDE = 1;
const FOWNER = 3;
const FSETID = 4;
const SYS_ADMIN = 21;
const MKNOD = 27;
const SETFCAP = 31;

/** What the process can do while hostile bytes go through it. */
describe('podwright-unpack at work', function () {
  let place: Place;
  let directory: FileHandle;
  let input: net.Socket;
  let pidfd: number;
  /** The process that works, as the host sees it. */
  let worker: string;
  let ended: Promise<unknown>;

  before(function () {
    if (!isRoot || process.env['UNPACK'] !== undefined) {
      console.log('      needs root, and the real build');
      this.skip();
    }
  });

  beforeEach(async () => {
    place = await makePlace();
    directory = await open(place.root, constants.O_RDONLY | constants.O_DIRECTORY);
    const [read, write] = pipe();
    const child = spawn({
      file: unpackerPath,
      argv: ['podwright-unpack', `--parent=${process.pid}`, 'extract'],
      fds: [read, null, 2, null, directory.fd],
    });
    closeFd(read);
    pidfd = child.pidfd;
    ended = waitPidfd(pidfd);
    input = new net.Socket({ fd: write, readable: false, writable: true });
    input.on('error', () => undefined);
    // More than one chunk of the ring: when its file is there, every thread is at work.
    input.write(Buffer.concat([tarEntry({ path: 'f', content: Buffer.alloc(600_000), size: 5_000_000 })]));
    await until(async () => (await readdir(place.root)).length > 0);
    worker = (await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')).trim();
    await until(async () => {
      const others = (await readdir(`/proc/${worker}/task`)).filter((task) => task !== worker);
      const filters = await Promise.all(
        others.map(async (task) => (await statusOf(task)).get('Seccomp_filters')),
      );
      return filters.every((count) => count === '2');
    });
  });
  afterEach(async () => {
    input.destroy();
    await ended;
    await directory.close();
    await place.remove();
  });

  async function until(condition: () => Promise<boolean>): Promise<void> {
    while (!(await condition())) await delay(5);
  }

  async function statusOf(task: string): Promise<ReadonlyMap<string, string>> {
    const text = await readFile(`/proc/${worker}/task/${task}/status`, 'utf8');
    return new Map(text.split('\n').map((line) => line.split(/:\s*/, 2) as [string, string]));
  }

  it('has few capabilities, or none, and a list of system calls, in every thread', async () => {
    const kept = [CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SYS_ADMIN, MKNOD, SETFCAP];
    const mask = kept.reduce((bits, bit) => bits | (1n << BigInt(bit)), 0n);
    const tasks = await readdir(`/proc/${worker}/task`);
    expect(tasks).to.have.length(3);
    for (const task of tasks) {
      const status = await statusOf(task);
      const capability = (name: string): bigint => BigInt(`0x${status.get(name) ?? ''}`);
      expect([status.get('NoNewPrivs'), status.get('Seccomp')]).to.deep.equal(['1', '2']);
      expect(status.get('Seccomp_filters')).to.equal(task === worker ? '1' : '2');
      expect([capability('CapInh'), capability('CapAmb'), capability('CapBnd')]).to.deep.equal([
        0n,
        0n,
        mask,
      ]);
      for (const set of ['CapEff', 'CapPrm']) expect(capability(set)).to.equal(task === worker ? mask : 0n);
    }
  });

  it('sees nothing but its directory', async () => {
    const mounts = (await readFile(`/proc/${worker}/mountinfo`, 'utf8')).trim().split('\n');
    expect(mounts).to.have.length(1);
    expect(mounts[0]).to.match(/ \/ [a-z,]*nosuid,nodev,noexec/);
    for (const kind of ['mnt', 'net', 'pid', 'ipc', 'uts']) {
      expect(await readlink(`/proc/${worker}/ns/${kind}`)).to.not.equal(
        await readlink(`/proc/self/ns/${kind}`),
      );
    }
    const fds = await Promise.all(
      (await readdir(`/proc/${worker}/fd`)).map((fd) => readlink(`/proc/${worker}/fd/${fd}`)),
    );
    const known = fds.filter(
      (target) =>
        /^(pipe:|socket:|\/dev\/null|\/dev\/pts|\/$|\/f$)/.test(target) || target.startsWith(place.root),
    );
    expect(fds.length - known.length, fds.join(' ')).to.be.lessThan(2); // standard error is the test's own
  });

  it('ends with whoever started it', async () => {
    pidfdSendSignal(pidfd, 9);
    await ended;
    const gone = async (): Promise<boolean> =>
      readFile(`/proc/${worker}/stat`, 'utf8').then(
        (stat) => /\) Z /.test(stat),
        () => true,
      );
    await until(gone);
  });
});
