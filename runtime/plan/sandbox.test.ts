import { existsSync } from 'node:fs';
import { readFile, readlink } from 'node:fs/promises';
import { expect } from 'chai';
import { umount } from '../../native/index.js';
import { openCgroupDriver } from '../cgroup/index.js';
import type { Cgroup } from '../cgroup/types.js';
import { Busybox, type Running, usualSpec, whyNoContainers } from './busybox.suite.js';
import { compileContainerPlan, compilePausePlan } from './compile.js';
import type { ContainerPlanOptions, PausePlanOptions } from './options.js';

const pauseOptions: PausePlanOptions = {
  namespaces: { network: 'pod', pid: 'container', ipc: 'pod' },
  hostname: 'pod',
  sysctls: { 'net.ipv4.ip_unprivileged_port_start': '0' },
  shmSizeBytes: 1 << 26,
  pinNetns: undefined,
  network: { parentSteps: [], childSteps: [] },
  cgroup: { v1TasksPaths: [], unifiedPath: undefined },
};

/** A container of the sandbox: its namespaces by path, as the container room names them. */
function joining(
  pause: Running,
  kinds: readonly ('network' | 'ipc' | 'uts' | 'pid')[],
  own: readonly ('pid' | 'mount')[] = ['pid', 'mount'],
) {
  const files = { network: 'net', ipc: 'ipc', uts: 'uts', pid: 'pid' };
  const joined = kinds.map((type) => ({ type, path: `/proc/${pause.pid}/ns/${files[type]}` }));
  return {
    ...usualSpec,
    hostname: '',
    linux: { ...usualSpec.linux, namespaces: [...own.map((type) => ({ type })), ...joined] },
  };
}

const sandboxOf = (pause: Running, more: Partial<NonNullable<ContainerPlanOptions['sandbox']>> = {}) => ({
  sandbox: { pid: pause.pid, startTime: pause.startTime, sharedPid: false, shm: 'pause' as const, ...more },
});

describe('a sandbox from its plan', function () {
  let box: Busybox;
  const living: Running[] = [];

  // Real containers, on machines that may be busy.
  this.timeout(60_000);

  before(async function () {
    const reason = whyNoContainers();
    if (reason !== undefined) {
      this.test?.parent && (this.test.parent.title += ` (skipped: ${reason})`);
      this.skip();
    }
    box = await Busybox.open();
  });

  afterEach(async () => {
    for (const running of living) running.kill();
    await Promise.all(living.splice(0).map(({ ended }) => ended));
  });

  after(async () => box?.close());

  const startPause = async (change: Partial<PausePlanOptions> = {}): Promise<Running> => {
    const pause = await box.start(compilePausePlan({ ...pauseOptions, ...change }));
    living.push(pause);
    return pause;
  };

  const startContainer = async (options: ContainerPlanOptions): Promise<Running> => {
    const running = await box.start(compileContainerPlan(options));
    living.push(running);
    return running;
  };

  const sleeper = async (spec: typeof usualSpec, more: Partial<ContainerPlanOptions> = {}) =>
    startContainer(
      await box.options({ ...spec, process: { ...spec.process, args: ['/bin/sleep', '1000'] } }, more),
    );

  it('holds namespaces and nothing else', async () => {
    const pause = await startPause();
    const status = await readFile(`/proc/${pause.pid}/status`, 'utf8');
    for (const set of ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb'])
      expect(status).to.match(new RegExp(`^Cap${set}:\t0+$`, 'm'));
    expect(status).to.match(/^NoNewPrivs:\t1$/m);
    const mounts = (await readFile(`/proc/${pause.pid}/mountinfo`, 'utf8'))
      .trim()
      .split('\n')
      .map((line) => line.split(' ').slice(4, 6).join(' '));
    expect(mounts).to.deep.equal([
      '/ ro,nosuid,nodev,noexec,relatime',
      '/dev/shm rw,nosuid,nodev,noexec,relatime',
    ]);
    for (const kind of ['net', 'ipc', 'uts', 'mnt'])
      expect(await readlink(`/proc/${pause.pid}/ns/${kind}`), kind).not.to.equal(
        await readlink(`/proc/self/ns/${kind}`),
      );
    expect(await readlink(`/proc/${pause.pid}/ns/pid`)).to.equal(await readlink('/proc/self/ns/pid'));
  });

  it("leaves the host's namespaces alone where the pod shares them", async () => {
    const pause = await startPause({
      namespaces: { network: 'host', pid: 'host', ipc: 'host' },
      hostname: '',
      sysctls: {},
    });
    for (const kind of ['net', 'ipc', 'uts', 'pid'])
      expect(await readlink(`/proc/${pause.pid}/ns/${kind}`), kind).to.equal(
        await readlink(`/proc/self/ns/${kind}`),
      );
  });

  it("refuses sysctls that would be the host's", () => {
    const namespaces = { network: 'host', pid: 'container', ipc: 'host' } as const;
    for (const key of ['net.ipv4.ip_forward', 'kernel.shmmax', 'fs.mqueue.msg_max'])
      expect(
        () => compilePausePlan({ ...pauseOptions, namespaces, hostname: '', sysctls: { [key]: '1' } }),
        key,
      )
        .to.throw(`sysctls["${key}"]`)
        .with.property('code', 'InvalidArgument');
  });

  it('pins its network namespace', async () => {
    const pinNetns = box.file('netns');
    const pause = await startPause({ pinNetns });
    try {
      expect(existsSync(pinNetns)).to.equal(true);
      const { ino } = await import('node:fs/promises').then(({ stat }) => stat(pinNetns));
      expect(await readlink(`/proc/${pause.pid}/ns/net`)).to.equal(`net:[${ino}]`);
    } finally {
      umount(pinNetns, 2);
    }
  });

  it('lends its namespaces and /dev/shm to containers', async () => {
    const pause = await startPause();
    const spec = joining(pause, ['network', 'ipc', 'uts']);
    const script =
      'hostname; for n in net ipc uts; do readlink /proc/self/ns/$n; done; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ip link show lo | grep -c ,UP';
    const { out } = await box.run(script, spec, sandboxOf(pause));
    const expected = await Promise.all(
      ['net', 'ipc', 'uts'].map((kind) => readlink(`/proc/${pause.pid}/ns/${kind}`)),
    );
    expect(out.trim().split('\n')).to.deep.equal(['pod', ...expected, '0', '1']);
    await box.run('echo shared > /dev/shm/file', spec, sandboxOf(pause));
    const second = await box.run(
      `cat /dev/shm/file; df -k /dev/shm | tail -n 1; awk '$5 == "/dev/shm" { print $6, $7 }' /proc/self/mountinfo`,
      spec,
      sandboxOf(pause),
    );
    expect(second.out)
      .to.match(/^shared\nshm +65536 /)
      .and.to.match(/\nrw,nosuid,nodev,noexec,relatime -\n$/);
    expect(existsSync('/dev/shm/file')).to.equal(false);
  });

  it("lends the host's /dev/shm, or none", async () => {
    const pause = await startPause();
    const spec = joining(pause, ['network', 'uts']);
    const host = await box.run(
      `stat -c %m:%d /dev/shm; df /dev/shm | tail -n 1`,
      spec,
      sandboxOf(pause, { shm: 'host' }),
    );
    expect(host.code, host.out).to.equal(0);
    const none = await box.run('ls -d /dev/shm', spec, sandboxOf(pause, { shm: 'none' }));
    expect(none.code).to.equal(1);
    const mounts = [
      ...(usualSpec.mounts ?? []),
      { destination: '/dev/shm', type: 'tmpfs', source: 'own', options: ['size=4k'] },
    ];
    const own = await box.run('df /dev/shm | tail -n 1', { ...spec, mounts }, sandboxOf(pause));
    expect(own.out).to.match(/^own /);
  });

  it('that has ended is not joined', async () => {
    const pause = await startPause();
    const spec = joining(pause, ['network', 'ipc', 'uts']);
    const other = { ...pause, startTime: '1' };
    const error: Error & { code?: string } = await box.run('true', spec, sandboxOf(other)).then(
      () => new Error('it ran'),
      (reason: Error) => reason,
    );
    expect(error.message).to.include('it has ended');
    expect(error.code).to.equal('FailedPrecondition');
  });

  describe('with a shared pid namespace', () => {
    const namespaces = { network: 'pod', pid: 'pod', ipc: 'pod' } as const;

    it('is pid 1 of its containers, whose /proc shows it', async () => {
      const pause = await startPause({ namespaces });
      const spec = joining(pause, ['network', 'ipc', 'uts', 'pid'], ['mount']);
      const options = sandboxOf(pause, { sharedPid: true });
      await sleeper(spec, options);
      const { out } = await box.run(
        'readlink /proc/self/ns/pid; ps -o pid,comm; cat /proc/keys; (echo 1 > /proc/sys/kernel/shmmax) 2>&1; ls /proc/self/fd',
        spec,
        options,
      );
      const [ns, ...lines] = out.trim().split('\n');
      expect(ns).to.equal(await readlink(`/proc/${pause.pid}/ns/pid`));
      expect(lines.join('\n'))
        .to.match(/ 1 .*\n.*sleep/)
        .and.to.include('Read-only file system');
      expect(lines.slice(-4)).to.deep.equal(['0', '1', '2', '3']);
    });

    it('can have read-only containers', async () => {
      const pause = await startPause({ namespaces });
      const spec = {
        ...joining(pause, ['network', 'ipc', 'uts', 'pid'], ['mount']),
        root: { path: '', readonly: true },
      };
      const { out } = await box.run(
        'touch /x 2>&1; cat /proc/self/comm',
        spec,
        sandboxOf(pause, { sharedPid: true }),
      );
      expect(out).to.equal('touch: /x: Read-only file system\ncat\n');
    });

    it('lets an exec in', async () => {
      const pause = await startPause({ namespaces });
      const spec = joining(pause, ['network', 'ipc', 'uts', 'pid'], ['mount']);
      const init = await sleeper(spec, sandboxOf(pause, { sharedPid: true }));
      const { out } = await box.exec('cat /proc/1/comm; cat /proc/self/comm', {
        spec,
        init,
        sharedPid: true,
        process: spec.process,
      });
      expect(out.split('\n')[1]).to.equal('cat');
    });
  });

  describe('an exec', () => {
    it('is in every namespace of its container, with privileges of its own', async () => {
      const spec = {
        ...usualSpec,
        linux: {
          ...usualSpec.linux,
          namespaces: [...(usualSpec.linux?.namespaces ?? []), { type: 'cgroup' } as const],
        },
      };
      const init = await sleeper(spec);
      const kinds = ['pid', 'mnt', 'net', 'ipc', 'uts', 'cgroup'];
      const capabilities = { bounding: ['CAP_KILL'], effective: ['CAP_KILL'], permitted: ['CAP_KILL'] };
      const process = { ...spec.process, user: { uid: 0, gid: 7 }, cwd: '/tmp', capabilities };
      const script = `for n in ${kinds.join(' ')}; do readlink /proc/self/ns/$n; done; id; pwd; ls /proc/self/fd; grep Cap /proc/self/status; ulimit -n; ls /`;
      const { code, out } = await box.exec(script, { spec, init, process });
      expect(code, out).to.equal(0);
      const expected = await Promise.all(kinds.map((kind) => readlink(`/proc/${init.pid}/ns/${kind}`)));
      const lines = out.trim().split('\n');
      expect(lines.slice(0, 6)).to.deep.equal(expected);
      expect(lines.slice(6, 12)).to.deep.equal(['uid=0 gid=7', '/tmp', '0', '1', '2', '3']);
      expect(lines.slice(12, 17).map((line) => BigInt(`0x${line.split('\t')[1]}`))).to.deep.equal([
        0n,
        0x20n,
        0x20n,
        0x20n,
        0n,
      ]);
      expect(lines).to.include('1024').and.to.include('bin').and.not.to.include('home');
    });

    it('does not find another process under the pid of its container', async () => {
      const init = await sleeper(usualSpec);
      const error: Error = await box
        .exec('true', { spec: usualSpec, init: { ...init, startTime: '77' }, process: usualSpec.process })
        .then(
          () => new Error('it ran'),
          (reason: Error) => reason,
        );
      expect(error.message).to.equal(`find the container's process ${init.pid}: it has ended`);
    });

    it('cannot be led out by its working directory', async () => {
      const init = await sleeper(usualSpec);
      for (let fd = 3; fd < 20; fd++) {
        const process = { ...usualSpec.process, cwd: `/proc/self/fd/${fd}` };
        const error: Error = await box.exec('pwd', { spec: usualSpec, init, process }).then(
          ({ out }) => new Error(`it ran in ${out}`),
          (reason: Error) => reason,
        );
        expect(error.message).to.match(/^working directory \/proc\/self\/fd/);
      }
    });
  });

  describe('with control groups', () => {
    let cgroup: Cgroup;
    let parent: Cgroup | undefined;

    before(async () => {
      const name = `/podwright-plan-test-${process.pid}`;
      const driver = await openCgroupDriver({ driver: 'cgroupfs', parent: name });
      cgroup = await driver.create(driver.path('', 'box'), undefined);
      parent = driver.open(name);
    });

    after(async () => {
      await parent?.remove();
    });

    const inCgroup = () => ({ cgroup: { ...cgroup.join, directories: cgroup.directories } });

    it('runs in all of them, and so does an exec', async () => {
      const init = await sleeper(usualSpec, inCgroup());
      const paths = (text: string) =>
        new Set(
          text
            .trim()
            .split('\n')
            .map((line) => line.split(':').slice(2).join(':')),
        );
      expect([...paths(await readFile(`/proc/${init.pid}/cgroup`, 'utf8'))]).to.deep.equal([cgroup.path]);
      const { out } = await box.exec('cat /proc/self/cgroup', {
        spec: usualSpec,
        init,
        process: usualSpec.process,
        cgroup: cgroup.join,
      });
      expect([...paths(out)]).to.deep.equal([cgroup.path]);
    });

    for (const [name, namespaces] of [
      ['without a cgroup namespace', usualSpec.linux?.namespaces ?? []],
      ['with a cgroup namespace', [...(usualSpec.linux?.namespaces ?? []), { type: 'cgroup' as const }]],
    ] as const) {
      it(`shows a container its own part of each, ${name}`, async () => {
        const options = ['nosuid', 'noexec', 'nodev', 'relatime', 'ro'];
        const mounts = [
          ...(usualSpec.mounts ?? []),
          { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options },
        ];
        const spec = {
          ...usualSpec,
          mounts,
          linux: { ...usualSpec.linux, namespaces, cgroupsPath: cgroup.path },
        };
        const script = `cd /sys/fs/cgroup; for d in $(ls); do echo $d $(cat $d/cgroup.procs | wc -l); mkdir $d/new 2>&1; done; grep /sys/fs/cgroup /proc/self/mountinfo`;
        const { code, out } = await box.run(script, spec, inCgroup());
        expect(code, out).to.equal(0);
        const memory = cgroup.directories.get('memory');
        if (memory !== undefined) expect(out).to.match(/^memory [1-9]/m);
        expect(out)
          .to.match(/Read-only file system/)
          .and.not.to.include('podwright-plan-test\n');
        expect(out).to.match(/ \/sys\/fs\/cgroup\/memory ro,nosuid,nodev,noexec,relatime - cgroup /);
      });
    }
  });
});
