import { mkdir, readFile, readdir, readlink, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { silentLogger } from '../base/logger.js';
import { openSeccomp } from '../seccomp/index.js';
import type { Mount, Process, Spec } from '../spec/types.js';
import { Busybox, usualSpec, whyNoContainers } from './busybox.suite.js';

type RunnableSpec = typeof usualSpec;

const withProcess = (change: Partial<Process>, spec: RunnableSpec = usualSpec): RunnableSpec => ({
  ...spec,
  process: { ...spec.process, ...change },
});

const withMounts = (...mounts: readonly Mount[]): RunnableSpec => ({
  ...usualSpec,
  mounts: [...(usualSpec.mounts ?? []), ...mounts],
});

const withLinux = (linux: Partial<NonNullable<Spec['linux']>>): RunnableSpec => ({
  ...usualSpec,
  linux: { ...usualSpec.linux, ...linux },
});

/** "CapEff:\t00" → 0n, for every capability line of /proc/self/status. */
function capabilityLines(status: string): Record<string, bigint> {
  return Object.fromEntries(
    [...status.matchAll(/^Cap(\w+):\s*([0-9a-f]+)$/gm)].map(([, set = '', mask = '']) => [
      set,
      BigInt(`0x${mask}`),
    ]),
  );
}

async function ownChildren(): Promise<readonly string[]> {
  const children = await readFile(`/proc/self/task/${process.pid}/children`, 'utf8');
  return children.split(' ').filter((pid) => pid !== '');
}

describe('a container from its plan', function () {
  let box: Busybox;

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

  after(async () => box?.close());

  /** The trimmed output of a script that must succeed. */
  const output = async (script: string, spec?: RunnableSpec, more?: object): Promise<string> => {
    const { code, out } = await box.run(script, spec, more);
    expect(code, out).to.equal(0);
    return out.trim();
  };

  const failure = async (script: string, spec?: RunnableSpec, more?: object): Promise<string> => {
    try {
      await box.run(script, spec, more);
    } catch (error) {
      return (error as Error).message;
    }
    throw new Error('it ran');
  };

  describe('its life', () => {
    it('ends with the exit code of its command', async () => {
      expect(await box.run('echo hello; exit 3')).to.deep.equal({ code: 3, out: 'hello\n' });
    });

    it('leaves no mount on the host and no process, whether it ran or failed', async () => {
      const [mounts, children] = [await box.hostMounts(), await ownChildren()];
      await output('true');
      await failure(
        'true',
        withMounts({ destination: '/x', type: 'bind', source: '/no/such', options: ['bind'] }),
      );
      await failure('true', withProcess({ cwd: '/bin/busybox' }));
      expect(await box.hostMounts()).to.deep.equal(mounts);
      // Those that were there before belong to others, who may reap them meanwhile.
      expect((await ownChildren()).filter((pid) => !children.includes(pid))).to.deep.equal([]);
    });
  });

  describe('its namespaces', () => {
    it('are its own', async () => {
      const out = await output(
        'for n in pid mnt net ipc uts cgroup user; do readlink /proc/self/ns/$n; done',
      );
      const kinds = ['pid', 'mnt', 'net', 'ipc', 'uts', 'cgroup', 'user'];
      const host = await Promise.all(kinds.map((kind) => readlink(`/proc/self/ns/${kind}`)));
      const same = kinds.filter((_, index) => out.split('\n')[index] === host[index]);
      expect(same).to.deep.equal(['cgroup', 'user']);
      expect(await output('hostname; echo $$')).to.equal('box\n1');
    });

    it('include the cgroup namespace where asked for', async () => {
      const spec = withLinux({ namespaces: [...(usualSpec.linux?.namespaces ?? []), { type: 'cgroup' }] });
      expect(await output('readlink /proc/self/ns/cgroup', spec)).not.to.equal(
        await readlink('/proc/self/ns/cgroup'),
      );
    });

    it("are the host's where not named", async () => {
      const spec = { ...withLinux({ namespaces: [{ type: 'mount' }, { type: 'pid' }] }), hostname: '' };
      const out = await output(
        'readlink /proc/self/ns/net; readlink /proc/self/ns/uts; readlink /proc/self/ns/ipc',
        spec,
      );
      const host = await Promise.all(['net', 'uts', 'ipc'].map((kind) => readlink(`/proc/self/ns/${kind}`)));
      expect(out.split('\n')).to.deep.equal(host);
    });

    it('get their sysctls', async () => {
      const spec = withLinux({
        sysctl: { 'net.ipv4.ip_unprivileged_port_start': '7', 'kernel.shmmax': '65536' },
      });
      const files = '/proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmax';
      expect(await output(`cat ${files}`, spec)).to.equal('7\n65536');
      const host = await readFile('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8');
      expect(host.trim()).not.to.equal('7');
    });
  });

  describe('its file system', () => {
    it('has the kernel file systems where the spec says', async () => {
      const out = await output(`awk '{ print $5, $(NF-2), $6 }' /proc/self/mountinfo`);
      const mounts = Object.fromEntries(
        out.split('\n').map((line): [string, string] => {
          const [place = '', ...rest] = line.split(' ');
          return [place, rest.join(' ')];
        }),
      );
      expect(mounts).to.include({
        '/': 'overlay rw,relatime',
        '/proc': 'proc rw,nosuid,nodev,noexec,relatime',
        '/dev': 'tmpfs rw,nosuid',
        '/dev/pts': 'devpts rw,nosuid,noexec,relatime',
        '/dev/mqueue': 'mqueue rw,nosuid,nodev,noexec,relatime',
        '/sys': 'sysfs ro,nosuid,nodev,noexec,relatime',
        '/proc/sys': 'proc ro,nosuid,nodev,noexec,relatime',
      });
    });

    it('has nothing of the root that it came from', async () => {
      // With a procfs of the launch, which goes with that root.
      const spec = withLinux({ sysctl: { 'kernel.shmmax': '65536' } });
      const places = (await output(`awk '{ print $5 }' /proc/self/mountinfo`, spec)).split('\n');
      expect(places.filter((place) => place === '/' || place === '/proc')).to.deep.equal(['/', '/proc']);
      expect(places.filter((place) => !/^\/(proc|dev|sys)?(\/|$)/.test(place))).to.deep.equal([]);
    });

    it('has the default devices and links', async () => {
      const out = await output(
        'cd /dev; for f in *; do test -c $f && stat -c "%n %t:%T %a" $f; done; for f in fd stdin stdout stderr core ptmx; do readlink $f; done',
      );
      for (const device of [
        'null 1:3 666',
        'zero 1:5 666',
        'full 1:7 666',
        'random 1:8 666',
        'urandom 1:9 666',
        'tty 5:0 666',
      ])
        expect(out.split('\n')).to.include(device);
      expect(out).to.include('/proc/self/fd/2').and.to.include('pts/ptmx');
      expect(await output('echo x > /dev/null; head -c 2 /dev/zero | wc -c')).to.equal('2');
    });

    it('has the devices of the spec, with owner and mode', async () => {
      const devices = [
        { path: '/dev/fuse', type: 'c', major: 10, minor: 229, fileMode: 0o640, uid: 7, gid: 8 },
        { path: '/dev/null', type: 'c', major: 1, minor: 3, fileMode: 0o600 },
        { path: '/opt/pipe', type: 'p' },
      ] as const;
      const out = await output(
        'stat -c "%n %F %t:%T %a %u:%g" /dev/fuse /dev/null /opt/pipe',
        withLinux({ devices }),
      );
      expect(out.split('\n')).to.deep.equal([
        '/dev/fuse character special file a:e5 640 7:8',
        '/dev/null character special file 1:3 600 0:0',
        '/opt/pipe fifo 0:0 666 0:0',
      ]);
    });

    it('hides masked paths and protects read-only ones', async () => {
      const maskedPaths = ['/secret.txt', '/secret', '/proc/keys', '/absent'];
      const spec = withLinux({ maskedPaths, readonlyPaths: ['/protected', '/proc/sys', '/absent'] });
      const layer = await box.layer();
      await mkdir(path.join(layer.path, 'secret'));
      await mkdir(path.join(layer.path, 'protected'));
      await writeFile(path.join(layer.path, 'secret', 'file'), 'x');
      await writeFile(path.join(layer.path, 'secret.txt'), 'x');
      const out = await output(
        'cat /secret.txt /proc/keys; ls -A /secret; touch /secret/new 2>&1; touch /protected/new 2>&1; echo 1 > /proc/sys/net/ipv4/ip_forward; echo done',
        spec,
        { layers: [layer.name] },
      );
      expect(out).to.equal(
        "touch: /secret/new: Read-only file system\ntouch: /protected/new: Read-only file system\n/bin/sh: can't create /proc/sys/net/ipv4/ip_forward: Read-only file system\ndone",
      );
    });

    it('can be read-only, with writable mounts in it', async () => {
      const spec = {
        ...withProcess(
          { cwd: '/made/for/it' },
          withMounts({ destination: '/scratch', type: 'tmpfs', options: ['size=1m'] }),
        ),
        root: { path: '', readonly: true },
      };
      const out = await output('touch /new 2>&1; touch /scratch/new && ls /scratch; pwd', spec);
      expect(out).to.equal('touch: /new: Read-only file system\nnew\n/made/for/it');
    });

    it('copies what a tmpfs covers, if asked to', async () => {
      const options = ['tmpcopyup', 'mode=700'];
      const out = await output(
        'ls /bin | grep -c .; stat -c %a /bin; touch /bin/new',
        withMounts({ destination: '/bin', type: 'tmpfs', options }),
      );
      expect(Number(out.split('\n')[0])).to.be.greaterThan(20);
      const sealed = withMounts({ destination: '/etc', type: 'tmpfs', options: ['ro', 'tmpcopyup'] });
      expect(await output('touch /etc/new 2>&1; true', sealed)).to.equal(
        'touch: /etc/new: Read-only file system',
      );
    });

    it('may lie in a directory of the host', async () => {
      const rootfs = { kind: 'path', path: box.file('layers', '0') };
      expect(await output('ls /bin | grep -c busybox', usualSpec, { rootfs })).to.equal('1');
    });
  });

  describe('a bind mount', () => {
    const bind = (destination: string, source: string, ...options: readonly string[]): Mount => ({
      destination,
      source,
      type: 'bind',
      options: options.length === 0 ? ['rbind', 'rprivate'] : options,
    });

    it('brings a directory or a file, and makes the place for it', async () => {
      await writeFile(box.file('file'), 'content');
      await mkdir(box.file('tree'));
      await writeFile(box.file('tree', 'leaf'), 'x');
      await symlink('tree', box.file('link'));
      const spec = withMounts(
        bind('/data/deep/tree', box.file('tree')),
        bind('/data/file', box.file('file')),
        bind('/etc/link', box.file('link')),
      );
      expect(
        await output('ls /data/deep/tree /etc/link; cat /data/file; echo y > /data/deep/tree/new', spec),
      ).to.equal('/data/deep/tree:\nleaf\n\n/etc/link:\nleaf\ncontent');
      expect(await readdir(box.file('tree'))).to.have.members(['leaf', 'new']);
    });

    it('has the flags of its options', async () => {
      const flags = async (...options: readonly string[]) => {
        const spec = withMounts(bind('/b', box.file('layers', '0'), ...options));
        const [line = ''] = (
          await output(`awk '$5 == "/b" { print $6, $7 }' /proc/self/mountinfo`, spec)
        ).split('\n');
        return line;
      };
      expect(await flags('bind', 'private', 'ro')).to.match(/^ro,relatime -$/);
      expect(await flags('rbind', 'rprivate', 'rro', 'noexec')).to.match(/^ro,noexec,relatime -$/);
      expect(await flags('rbind', 'rslave', 'nosuid', 'nodev', 'noatime', 'rw')).to.match(
        /^rw,nosuid,nodev,noatime /,
      );
      expect(await flags('rbind', 'rshared')).to.match(/^rw,relatime shared:/);
      expect(await flags('bind', 'strictatime', 'nosymfollow', 'runbindable')).to.match(
        /^rw,nosymfollow unbindable$/,
      );
      expect(await flags('rbind', 'suid', 'dev', 'exec', 'nodiratime', 'private')).to.match(
        /^rw,nodiratime,relatime -$/,
      );
    });

    it('says in the words of the request what is missing', async () => {
      expect(await failure('true', withMounts(bind('/data', '/no/such/dir')))).to.equal(
        'mount /data (bind from /no/such/dir): no such file or directory',
      );
      expect(await failure('true', withMounts(bind('/bin/busybox', box.file('layers'))))).to.match(
        /^mount \/bin\/busybox \(bind from .*\): not a directory/,
      );
      const long = `/${'x'.repeat(70_000)}`;
      expect(await failure('true', withMounts(bind('/data', long)))).to.match(
        /^mount \/data \(bind from .*: name too long/,
      );
    });

    it('cannot be so many that descriptors run out', async () => {
      const many = Array.from({ length: 1000 }, (_, index) => bind(`/many/${index}`, box.file('layers')));
      expect(await output('ls /many | wc -l', withMounts(...many))).to.equal('1000');
      const tooMany = Array.from({ length: 2100 }, (_, index) => bind(`/many/${index}`, box.file('layers')));
      expect(await failure('true', withMounts(...tooMany))).to.match(/^too many mounts/);
    });
  });

  describe('its process', () => {
    const status = async (spec: RunnableSpec, more?: object) => output('cat /proc/self/status', spec, more);

    it('has the capabilities of the spec and no inheritable ones', async () => {
      const one = {
        bounding: ['CAP_KILL', 'CAP_CHOWN'],
        effective: ['CAP_KILL'],
        permitted: ['CAP_KILL', 'CAP_CHOWN'],
      };
      expect(capabilityLines(await status(withProcess({ capabilities: one })))).to.deep.equal({
        Inh: 0n,
        Prm: 0x21n,
        // Root's execve raises what the bounding set lets it.
        Eff: 0x21n,
        Bnd: 0x21n,
        Amb: 0n,
      });
      expect(capabilityLines(await status(withProcess({ capabilities: undefined })))).to.deep.equal({
        Inh: 0n,
        Prm: 0n,
        Eff: 0n,
        Bnd: 0n,
        Amb: 0n,
      });
    });

    it('loses them as another user, but for ambient ones', async () => {
      const all = ['CAP_KILL', 'CAP_NET_BIND_SERVICE'];
      const user = { uid: 1000, gid: 1000 };
      const plain = { bounding: all, effective: all, permitted: all };
      expect(capabilityLines(await status(withProcess({ user, capabilities: plain })))).to.deep.equal({
        Inh: 0n,
        Prm: 0n,
        Eff: 0n,
        Bnd: 0x420n,
        Amb: 0n,
      });
      const ambient = { ...plain, inheritable: ['CAP_KILL'], ambient: ['CAP_KILL'] };
      expect(capabilityLines(await status(withProcess({ user, capabilities: ambient })))).to.deep.equal({
        Inh: 0x20n,
        Prm: 0x20n,
        Eff: 0x20n,
        Bnd: 0x420n,
        Amb: 0x20n,
      });
    });

    it('is the user of the spec', async () => {
      const user = { uid: 1234, gid: 5678, additionalGids: [5678, 10, 20], umask: 0o27 };
      expect(await output('id; umask; touch /dev/stderr', withProcess({ user }))).to.equal(
        'uid=1234 gid=5678 groups=10,20,5678\n0027',
      );
      expect(await output('id; umask')).to.equal('uid=0 gid=0\n0022');
    });

    it('has the descriptors 0 to 2 and nothing else', async () => {
      expect(await output('ls /proc/self/fd; ls /proc/1/fd; true')).to.equal(
        '0\n1\n2\n3\n\n0\n1\n2'.replace('\n\n', '\n'),
      );
    });

    it('has its limits', async () => {
      expect(await output('ulimit -Sn; ulimit -Hn')).to.equal('1024\n4096');
      const rlimits = [
        { type: 'RLIMIT_NOFILE', soft: 100, hard: 200 },
        { type: 'RLIMIT_CORE', soft: 0, hard: 2 ** 64 },
      ];
      expect(await output('ulimit -Sn; ulimit -Hn; ulimit -c', withProcess({ rlimits }))).to.equal(
        '100\n200\n0',
      );
    });

    it('starts in its directory, which is made if need be', async () => {
      expect(
        await output('pwd; stat -c "%u %a" .', withProcess({ cwd: '/a/b', user: { uid: 9, gid: 9 } })),
      ).to.equal('/a/b\n0 755');
      expect(await output('pwd', withProcess({ cwd: '/dev' }))).to.equal('/dev');
    });

    it('gets its environment and arguments as they are', async () => {
      const env = ['PATH=/bin', 'EMPTY=', 'UMLAUT=ä ö', 'EQ=a=b'];
      expect((await output('env', withProcess({ env }))).split('\n')).to.include.members(env);
    });

    it('has a filter, with and without no_new_privs', async () => {
      const profiles = await openSeccomp({ cacheDir: box.file('seccomp'), logger: silentLogger });
      const profile = profiles.defaultProfile([]);
      const seccomp = await profiles.compile(profile);
      for (const noNewPrivileges of [false, true]) {
        const spec = withProcess({ noNewPrivileges }, withLinux({ seccomp: profile }));
        const text = await status(spec, { seccomp });
        expect(text)
          .to.match(/^Seccomp:\t2$/m)
          .and.to.match(new RegExp(`^NoNewPrivs:\t${noNewPrivileges ? 1 : 0}$`, 'm'));
        const { out } = await box.run('unshare -m true; mount -t tmpfs x /tmp', spec, { seccomp });
        expect(out).to.include('unshare').and.to.include('Operation not permitted');
        expect(out)
          .to.include('mount')
          .and.to.match(/permission denied|Operation not permitted/);
      }
      expect(await failure('true', withLinux({ seccomp: profile }))).to.include('was not compiled');
    });

    it('has a filter that its own start does not trip over', async () => {
      const profiles = await openSeccomp({ cacheDir: box.file('seccomp'), logger: silentLogger });
      const syscalls = [
        'setresuid',
        'setgroups',
        'chdir',
        'mount',
        'sethostname',
        'setsid',
        'fchown',
        'unshare',
      ];
      const profile = {
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ names: syscalls, action: 'SCMP_ACT_KILL_PROCESS' }],
      };
      const seccomp = await profiles.compile(profile);
      const spec = withProcess({ user: { uid: 5, gid: 5 }, cwd: '/tmp' }, withLinux({ seccomp: profile }));
      expect(await output('echo alive', spec, { seccomp })).to.equal('alive');
    });

    it('has an oom score', async () => {
      expect(await output('cat /proc/self/oom_score_adj', withProcess({ oomScoreAdj: 777 }))).to.equal('777');
    });
  });

  describe('a failed start', () => {
    const start = async (change: Partial<Process>, layers: readonly string[] = []) => {
      const { compileContainerPlan } = await import('./compile.js');
      const options = await box.options(withProcess(change), { layers });
      try {
        await box.start(compileContainerPlan(options));
      } catch (error) {
        return (error as Error).message;
      }
      throw new Error('it ran');
    };

    it('names the command', async () => {
      expect(await start({ args: ['foo'] })).to.equal('exec "foo": executable file not found in $PATH');
      expect(await start({ args: ['/bin/foo'] })).to.match(/^exec "\/bin\/foo": no such file or directory/);
      expect(await start({ args: ['/etc'] })).to.equal('exec "/etc": permission denied: not executable');
      expect(await start({ args: ['/bin/sh/x'] })).to.equal(
        'exec "/bin/sh/x": a component of the path is not a directory',
      );
      const layer = await box.layer();
      await writeFile(path.join(layer.path, 'data'), 'not a program', { mode: 0o755 });
      await writeFile(path.join(layer.path, 'script'), '#!/no/such/shell\n', { mode: 0o755 });
      expect(await start({ args: ['/data'] }, [layer.name])).to.equal(
        `exec "/data": exec format error: no program for this machine (${process.arch}), nor a script with #!`,
      );
      expect(await start({ args: ['/script'] }, [layer.name])).to.include('interpreter it names');
    });

    it('names the working directory', async () => {
      expect(await start({ cwd: '/bin/sh' })).to.match(/working directory \/bin\/sh: is not a directory/);
    });
  });
});
