import { expect } from 'chai';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { RuntimeError } from '../errors.js';
import { openCgroupDriver } from './index.js';
import type { Cgroup, CgroupDriver } from './types.js';

const parent = `/podwright-test-${process.pid}`;

describe('cgroupfs driver', () => {
  let driver: CgroupDriver;
  let cgroup: Cgroup;
  let child: ChildProcess | undefined;

  before(async function () {
    if (process.getuid?.() !== 0) return this.skip(); // needs root to make cgroups
    driver = await openCgroupDriver({ driver: 'cgroupfs', parent });
    return undefined;
  });

  beforeEach(async () => {
    cgroup = await driver.create(driver.path('', `c${Math.random().toString(16).slice(2)}`), {
      memory: { limit: 64 << 20 },
      cpu: { shares: 512, quota: 50_000, period: 100_000 },
      pids: { limit: 50 },
      devices: [{ allow: false, access: 'rwm' }],
    });
  });

  afterEach(async () => {
    child = undefined;
    await cgroup.kill();
    await cgroup.remove();
  });

  after(async () => {
    if (driver !== undefined) await driver.open(parent).remove();
  });

  /** A sleeper in every hierarchy of the cgroup. */
  async function join(): Promise<number> {
    child = spawn('sleep', ['1000'], { stdio: 'ignore' });
    await once(child, 'spawn');
    const pid = child.pid ?? 0;
    const { v1TasksPaths, unifiedPath } = cgroup.join;
    for (const tasks of v1TasksPaths) await writeFile(tasks, String(pid));
    if (unifiedPath !== undefined) await writeFile(path.join(unifiedPath, 'cgroup.procs'), String(pid));
    return pid;
  }

  const memoryFile = (): string =>
    path.join(
      cgroup.directories.get('memory') ?? cgroup.directories.get('') ?? '',
      driver.mode === 'v2' ? 'memory.max' : 'memory.limit_in_bytes',
    );

  it('sets the limits it was given', async () => {
    expect((await readFile(memoryFile(), 'utf8')).trim()).to.equal(String(64 << 20));
  });

  it('knows its processes, reads their figures and kills them', async () => {
    const pid = await join();
    expect(await cgroup.processes()).to.deep.equal([pid]);
    const [stats] = await driver.stats([cgroup.path]);
    expect(stats?.memory?.limitBytes).to.equal(BigInt(64 << 20));
    expect(stats?.pids?.current).to.equal(1n);
    expect(stats?.cpu?.usageNs).to.be.a('bigint');
    const ended = once(child ?? expect.fail('no child'), 'exit');
    await cgroup.kill();
    expect((await ended)[1]).to.equal('SIGKILL');
    await cgroup.untilEmpty(AbortSignal.timeout(5000));
  });

  it('freezes and thaws, and kills what is frozen', async () => {
    const pid = await join();
    await cgroup.freeze();
    expect(await cgroup.isFrozen()).to.equal(true);
    await cgroup.thaw();
    expect(await cgroup.isFrozen()).to.equal(false);
    await cgroup.freeze();
    const ended = once(child ?? expect.fail('no child'), 'exit');
    await cgroup.kill();
    await ended;
    expect(await cgroup.processes()).not.to.include(pid);
  });

  it('refuses to be removed while a process is in it, then goes with its sub-cgroups', async () => {
    const exec = await cgroup.createExec('exec-1');
    expect(exec.path.endsWith('/exec-1')).to.equal(true);
    await cgroup.remove();
    expect(await cgroup.processes()).to.deep.equal([]);
    await cgroup.remove();
  });

  it('puts all limits back when one is refused', async () => {
    const error = await cgroup
      .update({ memory: { limit: 32 << 20 }, cpu: { cpus: '4000-5000' } })
      .catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(RuntimeError);
    expect((await readFile(memoryFile(), 'utf8')).trim()).to.equal(String(64 << 20));
    await cgroup.update({ memory: { limit: 32 << 20 } });
    expect((await readFile(memoryFile(), 'utf8')).trim()).to.equal(String(32 << 20));
  });

  it('grows memory and memory+swap in an order the kernel takes', async () => {
    await cgroup.update({ memory: { limit: 64 << 20, swap: 64 << 20 } });
    await cgroup.update({ memory: { limit: 128 << 20, swap: 128 << 20 } });
    await cgroup.update({ memory: { limit: 32 << 20, swap: 32 << 20 } });
    expect((await readFile(memoryFile(), 'utf8')).trim()).to.equal(String(32 << 20));
  });

  it('takes a quota and a period in an order that the limits of the parent allow', async () => {
    await cgroup.update({ cpu: { quota: 20_000, period: 100_000 } });
    const child = await driver.create(driver.path(cgroup.path, 'child'), {
      cpu: { quota: 20_000, period: 100_000 },
    });
    try {
      await child.update({ cpu: { quota: 4_000, period: 20_000 } });
      await child.update({ cpu: { quota: 100_000, period: 500_000 } });
    } finally {
      await child.remove();
    }
  });

  it('names the control file that the kernel does not have, and says that a cgroup is gone', async () => {
    const refused = async (work: Promise<unknown>): Promise<RuntimeError> => {
      const error: unknown = await work.catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(RuntimeError);
      return error as RuntimeError;
    };
    const sizes = { cpu: { shares: 77 }, hugepageLimits: [{ pageSize: '3MB', limit: 5 }] };
    const error = await refused(cgroup.update(sizes));
    // Which of the two depends on whether the host has the controller.
    expect(error.code).to.be.oneOf(['InvalidArgument', 'FailedPrecondition']);
    expect(error.message).to.contain('hugetlb');
    const gone = await refused(driver.open(driver.path('', 'gone')).update({ cpu: { shares: 77 } }));
    expect(gone.code).to.equal('FailedPrecondition');
  });

  it('gives the way back to the limits before', async () => {
    await cgroup.update({ memory: { limit: 48 << 20 } });
    const putBack = await cgroup.update({ memory: { limit: 96 << 20 }, cpu: { shares: 99 } });
    await putBack();
    expect((await readFile(memoryFile(), 'utf8')).trim()).to.equal(String(48 << 20));
  });

  it('leaves nothing when a limit is refused at creation', async () => {
    const name = driver.path('', 'refused');
    const error = await driver.create(name, { cpu: { cpus: '4000' } }).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(RuntimeError);
    expect(await driver.stats([name])).to.deep.equal([undefined]);
  });

  for (const bad of ['relative', '/a/../b', '/a\0b', '/system.slice']) {
    it(`refuses the parent ${JSON.stringify(bad)}`, () => {
      expect(() => driver.path(bad, 'x')).to.throw(RuntimeError);
    });
  }
});
