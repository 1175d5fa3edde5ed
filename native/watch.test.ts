import { expect } from 'chai';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  rmdirSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { openInotify, spawn, waitPidfd, pidfdSendSignal, watchCgroupEvent, watchPriority } from './index.js';
import { makeScratch, openDescriptors, removeScratch } from './scratch.js';

const IN_CREATE = 0x100;
const IN_DELETE = 0x200;
const IN_IGNORED = 0x8000;

/** Resolves when `happened` has been called. */
function signal(): { readonly promise: Promise<void>; happened: () => void } {
  let happened = (): void => undefined;
  const promise = new Promise<void>((resolve) => (happened = resolve));
  return { promise, happened };
}

function unifiedHierarchy(): string | undefined {
  return ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].find(
    (root) => existsSync(`${root}/cgroup.procs`) && existsSync(`${root}/cgroup.controllers`),
  );
}

describe('inotify', () => {
  let scratch: string;
  before(async () => {
    scratch = await makeScratch();
  });
  after(() => removeScratch(scratch));

  it('reports what happens in several directories', async () => {
    const [one, two] = [path.join(scratch, 'one'), path.join(scratch, 'two')];
    mkdirSync(one);
    mkdirSync(two);
    const seen: [number, number, string][] = [];
    const done = signal();
    const inotify = openInotify((watch, mask, name) => {
      seen.push([watch, mask, name]);
      if (mask === IN_IGNORED) done.happened();
    });
    const first = inotify.add(one, IN_CREATE | IN_DELETE);
    const second = inotify.add(two, IN_CREATE | IN_DELETE);
    writeFileSync(path.join(one, 'ä'), '');
    writeFileSync(path.join(two, 'b'), '');
    unlinkSync(path.join(two, 'b'));
    inotify.remove(second);
    inotify.remove(second);
    await done.promise;
    expect(seen).to.deep.equal([
      [first, IN_CREATE, 'ä'],
      [second, IN_CREATE, 'b'],
      [second, IN_DELETE, 'b'],
      [second, IN_IGNORED, ''],
    ]);
    expect(() => inotify.add('/nowhere', IN_CREATE)).to.throw(/inotify_add_watch \/nowhere: ENOENT/);
    inotify.close();
    inotify.close();
    expect(() => inotify.add(one, IN_CREATE)).to.throw(/EBADF/);
  });

  it('stops inside its callback', async () => {
    const before = openDescriptors();
    let calls = 0;
    const done = signal();
    const inotify = openInotify(() => {
      calls++;
      inotify.close();
      done.happened();
    });
    inotify.add(scratch, IN_CREATE);
    for (const name of ['1', '2', '3']) writeFileSync(path.join(scratch, name), '');
    await done.promise;
    expect(calls).to.equal(1);
    expect(openDescriptors()).to.equal(before);
  });
});

describe('watchPriority', () => {
  it('reports that a cgroup is populated, empty and gone', async function () {
    const root = unifiedHierarchy();
    if (root === undefined || process.getuid?.() !== 0) return this.skip(); // needs root and cgroup v2
    const cgroup = `${root}/podwright-watch-test-${process.pid}`;
    mkdirSync(cgroup);
    const events = openSync(`${cgroup}/cgroup.events`, 'r');
    let changed = signal();
    const gone = signal();
    const watch = watchPriority(
      events,
      () => changed.happened(),
      () => gone.happened(),
    );
    closeSync(events);
    const { pid, pidfd } = spawn({ file: '/bin/sleep', argv: ['sleep', '60'], fds: [] });
    writeFileSync(`${cgroup}/cgroup.procs`, String(pid));
    await changed.promise;
    changed = signal();
    pidfdSendSignal(pidfd, 9);
    await waitPidfd(pidfd);
    await changed.promise;
    rmdirSync(cgroup);
    await gone.promise;
    watch.close();
  });

  it('takes a pressure trigger', function () {
    let trigger: number;
    try {
      trigger = openSync('/proc/pressure/memory', 'r+');
      writeSync(trigger, 'some 500000 2000000\n');
    } catch {
      return this.skip(); // needs PSI
    }
    const watch = watchPriority(trigger, () => undefined);
    watch.close();
    closeSync(trigger);
  });

  it('refuses what cannot be polled', () => {
    const file = openSync('/proc/self/exe', 'r');
    expect(() => watchPriority(file, () => undefined)).to.throw(/poll: EPERM/);
    closeSync(file);
    expect(() => watchPriority(file, () => undefined)).to.throw(/fcntl: EBADF/);
  });
});

describe('watchCgroupEvent', () => {
  it('counts the events of a v1 control file, the end of the cgroup among them', async function () {
    const root = '/sys/fs/cgroup/memory';
    if (!existsSync(`${root}/cgroup.event_control`) || process.getuid?.() !== 0) return this.skip(); // needs root and the v1 memory controller
    const cgroup = `${root}/podwright-watch-test-${process.pid}`;
    mkdirSync(cgroup);
    const control = openSync(`${cgroup}/memory.usage_in_bytes`, 'r');
    let crossed = signal();
    const counts: bigint[] = [];
    const watch = watchCgroupEvent(`${cgroup}/cgroup.event_control`, control, String(1 << 20), (count) => {
      counts.push(count);
      crossed.happened();
    });
    closeSync(control);
    const script = `echo 0 > ${cgroup}/tasks; exec head -c 8000000 /dev/zero | tail -c 4000000 > /dev/null`;
    await waitPidfd(
      spawn({
        file: '/bin/sh',
        argv: ['sh', '-c', script],
        fds: [null, null, null],
        env: ['PATH=/usr/bin:/bin'],
      }).pidfd,
    );
    await crossed.promise;
    expect(counts[0]).to.equal(1n);
    crossed = signal();
    await removed(cgroup);
    await crossed.promise;
    watch.close();
  });

  it('says which control file refused', () => {
    expect(() => watchCgroupEvent('/nowhere/cgroup.event_control', 0, '', () => undefined)).to.throw(
      /write \/nowhere\/cgroup.event_control: ENOENT/,
    );
  });
});

/** A cgroup is busy for a moment after its last process has been reaped. */
async function removed(cgroup: string): Promise<void> {
  for (;;) {
    try {
      return rmdirSync(cgroup);
    } catch (error) {
      if ((error as { code?: string }).code !== 'EBUSY') throw error;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}
