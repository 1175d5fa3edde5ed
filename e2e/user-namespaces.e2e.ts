import { execFile } from 'node:child_process';
import { access, readFile, readlink, stat, writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { NamespaceMode, PodSandboxState } from '../protos/gen/cri/runtime/v1/api.js';
import { strays } from './audit.js';
import {
  type Bed,
  type ContainerConfig,
  type Pod,
  type Workload,
  addressOf,
  containerConfig,
  createContainer,
  exec,
  exitOf,
  openBed,
  pauseOf,
  pidOf,
  podConfig,
  podStatusOf,
  removePod,
  runContainer,
  runPod,
} from './bed.js';
import { awaitLine, readTexts, runToEnd } from './container-log.js';
import { eventually } from './eventually.js';
import { firstId as first, idCount as length, userns, usernsOptions } from './fixtures/user-namespace.js';
import { cniPlugins, tool } from './places.js';
import { refusal } from './refusal.js';

const { POD, NODE, CONTAINER } = NamespaceMode;
const sleeper = 'echo ready; exec sleep 1000';

/** CRI UserNamespace: a pod whose users are others on the host. */
describe('a user namespace', () => {
  let bed: Bed;
  let pod: Pod;
  let container: Workload;

  before(async () => {
    bed = await openBed();
    pod = await runPod(bed, 'pod', userns());
    container = await start('main', sleeper);
  });
  after(async () => {
    await bed?.end();
  });

  const start = async (
    name: string,
    script: string,
    more: ContainerConfig = {},
    where = pod,
  ): Promise<Workload> => runContainer(bed, where, containerConfig(bed, name, script, more));
  const output = async (name: string, script: string, more: ContainerConfig = {}, where = pod) => {
    const { exitCode, texts } = await runToEnd(bed, where, containerConfig(bed, name, script, more));
    expect(exitCode, texts.join('\n')).to.equal(0);
    return texts;
  };
  const inside = async (script: string, { id } = container): Promise<string> => {
    const { stdout, stderr, exitCode } = await exec(bed, id, script);
    expect(exitCode, stderr).to.equal(0);
    return stdout.trim();
  };

  it('is announced', async () => {
    const { runtimeHandlers, features } = await bed.daemon.client.runtime.status({});
    expect(runtimeHandlers[0]?.features).to.deep.equal({
      recursiveReadOnlyMounts: true,
      userNamespaces: true,
    });
    expect(features?.userNamespacesHostNetwork).to.equal(true);
  });

  it('maps the ids of the pod, and is shown with it', async () => {
    for (const map of ['uid_map', 'gid_map'])
      expect((await inside(`cat /proc/self/${map}`)).split(/\s+/)).to.deep.equal([
        '0',
        `${first}`,
        `${length}`,
      ]);
    const answer = await podStatusOf(bed, pod);
    expect(answer.linux?.namespaces?.options?.usernsOptions).to.deep.equal(usernsOptions);
  });

  it('has every process of the pod in it and in the pod’s cgroups, as others on the host', async () => {
    const [pid, own] = [await pidOf(bed, container.id), await readlink('/proc/self/ns/user')];
    const pause = await pauseOf(bed, pod);
    const namespace = await readlink(`/proc/${pid}/ns/user`);
    expect(namespace).to.not.equal(own);
    expect(await readlink(`/proc/${pause}/ns/user`)).to.equal(namespace);
    for (const [process, id] of [
      [pid, container.id],
      [pause, pod.id],
    ] as const) {
      expect((await readFile(`/proc/${process}/status`, 'utf8')).match(/^[UG]id:\t\d+/gm)).to.deep.equal([
        `Uid:\t${first}`,
        `Gid:\t${first}`,
      ]);
      const cgroups = (await readFile(`/proc/${process}/cgroup`, 'utf8')).trim().split('\n');
      expect(cgroups.filter((line) => !line.includes(id))).to.deep.equal([]);
    }
  });

  it('owns the network and everything else of the pod, so that its root may use them', async () => {
    const capabilities = { addCapabilities: ['NET_ADMIN', 'SYS_ADMIN'] };
    const lines = await output(
      'admin',
      'ip link set lo mtu 1400 && ip link show lo | grep -c "mtu 1400"; mount -t tmpfs x /tmp && echo mounted',
      // AppArmor's default profile lets nobody mount.
      { linux: { securityContext: { capabilities, apparmorProfile: 'unconfined' } } },
    );
    expect(lines).to.deep.equal(['1', 'mounted']);
    expect(await inside('cat /proc/sys/net/ipv4/ip_unprivileged_port_start')).to.equal('0');
    expect(await inside('cat /proc/sys/net/ipv4/ping_group_range')).to.match(/^0\s+65535$/);
  });

  it('shows the image as its own, and writes with its ids of the host', async () => {
    expect(await inside('stat -c %u:%g /bin/busybox /etc')).to.equal('0:0\n0:0');
    await inside(
      'echo root >/made; echo x >>/etc/passwd; mkdir /dir; touch /dir/other; chown 1000:1001 /dir/other',
    );
    const upper = path.join(bed.daemon.instance.root, 'containers', container.id, 'upper');
    const owner = async (name: string) => {
      const { uid, gid } = await stat(path.join(upper, name));
      return [uid - first, gid - first];
    };
    for (const name of ['', 'made', 'etc/passwd', 'dir'])
      expect(await owner(name), name).to.deep.equal([0, 0]);
    expect(await owner('dir/other')).to.deep.equal([1000, 1001]);
    expect(await inside('stat -c %u:%g / /made /etc/passwd /dir/other')).to.equal('0:0\n0:0\n0:0\n1000:1001');
  });

  it('has its kernel file systems, devices and shared memory', async () => {
    const lines = await output(
      'devices',
      `echo x >/dev/null && head -c 4 /dev/zero | wc -c && head -c 4 /dev/urandom | wc -c
       echo shared >/dev/shm/a && stat -c %u /dev/shm/a
       stat -c %u:%a /dev/shm /dev /dev/pts
       mount | grep -c -E ' on /(proc|sys|dev/mqueue) '
       grep -c . /proc/mounts >/dev/null && echo seen
       mknod /tmp/sda b 8 0 2>/dev/null || echo refused`,
    );
    expect(lines).to.deep.equal(['4', '4', '0', '0:1777', '0:755', '0:755', '3', 'seen', 'refused']);
    expect(await inside('cat /dev/shm/a')).to.equal('shared');
  });

  it('is reached by streams and by a port', async function () {
    await access(tool('crictl')).catch(() => this.skip());
    const endpoint = `unix://${bed.daemon.socket}`;
    const crictl = async (...args: readonly string[]): Promise<string> => {
      const options = ['-c', '/dev/null', '-r', endpoint, '-i', endpoint, '-t', '30s'];
      return (await promisify(execFile)(tool('crictl'), [...options, ...args])).stdout;
    };
    expect(await crictl('exec', container.id, 'sh', '-c', 'id -u; cat /made')).to.equal('0\nroot\n');
    const address = await addressOf(bed, pod);
    const server = await start('server', 'while :; do echo served | nc -l -p 80; done');
    const said = await eventually(
      () => said80(address),
      (text) => text === 'served\n',
    );
    expect(said).to.equal('served\n');
    await bed.daemon.client.runtime.stopContainer({ containerId: server.id, timeout: 0n });
    const { stats } = await bed.daemon.client.runtime.podSandboxStats({ podSandboxId: pod.id });
    expect(stats?.linux?.network?.defaultInterface?.name).to.equal('eth0');
  });

  it('lets a user open the streams it was given', async () => {
    const linux = { securityContext: { runAsUser: { value: 1000n }, runAsGroup: { value: 1000n } } };
    const script = 'id -u; echo out >/dev/stdout; echo err >/dev/stderr; echo again >/proc/self/fd/1';
    expect(await output('streams', script, { linux })).to.have.members(['1000', 'out', 'err', 'again']);
    const tty = await start('tty', 'tty; stat -c %u $(tty)', { tty: true, linux });
    expect(await exitOf(bed, tty.id)).to.include({ exitCode: 0 });
    expect((await readTexts(tty.log)).map((line) => line.trim())).to.deep.equal(['/dev/pts/0', '1000']);
    const user = await start('user', sleeper, { linux });
    expect(await inside('echo e >/dev/stderr; echo o >/dev/stdout; id -u', user)).to.equal('o\n1000');
  });

  it('keeps the processes of a pod in one namespace, none looking through another', async () => {
    const sharing = await runPod(bed, 'sharing', userns({ pid: POD }));
    const one = await start('one', sleeper, {}, sharing);
    const two = await start('two', sleeper, {}, sharing);
    await awaitLine(one.log, 'ready');
    await awaitLine(two.log, 'ready');
    expect(await inside('ps -o comm= | grep -c sleep', one)).to.equal('2');
    expect(await inside('cat /proc/1/comm; ls /proc/1/root 2>&1 | grep -c denied', two)).to.match(
      /pause\n1$/,
    );
    const target = {
      securityContext: { namespaceOptions: { pid: NamespaceMode.TARGET, targetId: container.id } },
    };
    const lines = await output(
      'debug',
      'ps -o comm= | grep -c sleep; cat /proc/1/comm; cat /proc/meminfo | wc -c',
      {
        linux: { securityContext: { ...target.securityContext, maskedPaths: ['/proc/meminfo'] } },
      },
    );
    expect(lines).to.deep.equal(['1', 'sleep', '0']);
    await removePod(bed, sharing);
  });

  it('shows nothing of the host while processes enter a pid namespace that is shared', async () => {
    const sharing = await runPod(bed, 'spied', userns({ pid: POD }));
    const secret = path.join(bed.daemon.instance.scratch, 'secret');
    await writeFile(secret, 'secret', { mode: 0o644 });
    const look = `echo ready; while [ ! -e /dev/shm/end ]; do for p in /proc/[0-9]*; do
      [ -e $p/root${secret} ] && echo leak root; [ -e $p/cwd${secret} ] && echo leak cwd
      ls -l $p/fd 2>/dev/null | grep -E '/(sys|proc|tmp|run|var)/' | sed 's/^.* -> /leak /'; done; done; echo done`;
    const capabilities = { addCapabilities: ['SYS_PTRACE', 'SYS_ADMIN'] };
    const spy = await start('spy', look, { linux: { securityContext: { capabilities } } }, sharing);
    await awaitLine(spy.log, 'ready');
    const victim = await start('victim', 'exec sleep 1000', {}, sharing);
    for (let round = 0; round < 5; round++) {
      await Promise.all([1, 2, 3].map(async () => inside('true', victim)));
      await start(`entering-${round}`, 'true', {}, sharing);
    }
    await inside('touch /dev/shm/end', victim);
    expect(await exitOf(bed, spy.id)).to.include({ exitCode: 0 });
    expect([...new Set(await readTexts(spy.log))]).to.deep.equal(['ready', 'done']);
    await removePod(bed, sharing);
  });

  it('can be with the network of the host, which it cannot change', async () => {
    const host = await runPod(bed, 'host', userns({ network: NODE }));
    const script = `ip link show lo | grep -c LOOPBACK; ls /sys/class/net | grep -c lo
      touch /sys/x 2>/dev/null || echo read-only; ip link set lo mtu 1000 2>/dev/null || echo refused; ls /sys/fs/cgroup | wc -l`;
    const linux = { securityContext: { capabilities: { addCapabilities: ['NET_ADMIN'] } } };
    const lines = await output('net', script, { linux }, host);
    expect(lines.slice(0, 4)).to.deep.equal(['1', '1', 'read-only', 'refused']);
    expect(await readlink(`/proc/${await pauseOf(bed, host)}/ns/net`)).to.equal(
      await readlink('/proc/self/ns/net'),
    );
    await removePod(bed, host);
  });

  it('can be privileged, which ends at its borders', async () => {
    const strong = await runPod(bed, 'strong', {
      linux: { securityContext: { privileged: true, namespaceOptions: { pid: CONTAINER, usernsOptions } } },
    });
    const script = `grep CapEff /proc/self/status | grep -c ffffff; mount -t tmpfs x /tmp && echo mounted
      cat /dev/vda >/dev/null 2>&1 || echo no disk; echo 1 2>/dev/null >/proc/sys/kernel/sysrq || echo no sysctl`;
    const more = { linux: { securityContext: { privileged: true } } };
    expect(await output('strong', script, more, strong)).to.deep.equal([
      '1',
      'mounted',
      'no disk',
      'no sysctl',
    ]);
    await removePod(bed, strong);
  });

  it('is still there after the daemon was killed', async () => {
    await bed.daemon.kill();
    await bed.daemon.start();
    expect(await inside('id -u; cat /made')).to.equal('0\nroot');
    expect((await inside('cat /proc/self/uid_map')).split(/\s+/)[1]).to.equal(`${first}`);
    const pid = await pidOf(bed, container.id);
    expect(await readFile(`/proc/${pid}/status`, 'utf8')).to.contain(`Uid:\t${first}`);
    expect(await output('after', 'stat -c %u /; cat /dev/shm/a')).to.deep.equal(['0', 'shared']);
    expect(await strays(bed)).to.deep.equal([]);
  });

  for (const point of ['sandbox.run.after-pause', 'container.create.after-monitor'] as const) {
    it(`leaves nothing where the daemon dies at ${point}`, async () => {
      const perform = (): Promise<unknown> =>
        point.startsWith('sandbox')
          ? bed.daemon.client.runtime.runPodSandbox({ config: podConfig(bed, 'tried', userns()) })
          : createContainer(bed, pod, containerConfig(bed, 'tried', 'true'));
      await bed.daemon.stop();
      await bed.daemon.start({ FAILPOINTS: `${point}=crash` });
      expect((await refusal(perform())).code).to.equal(status.UNAVAILABLE);
      await bed.daemon.ended();
      await bed.daemon.start();
      expect(await strays(bed)).to.deep.equal([]);
      await perform();
    });
  }

  it('is not ready without its pause process, also if that was killed while nobody looked', async () => {
    for (const down of [false, true]) {
      const killed = await runPod(bed, `killed-${down}`, userns());
      await start('orphan', sleeper, {}, killed);
      const pause = await pauseOf(bed, killed);
      if (down) await bed.daemon.kill();
      process.kill(pause, 'SIGKILL');
      if (down) await bed.daemon.start();
      const state = async () => (await podStatusOf(bed, killed)).state;
      const { SANDBOX_NOTREADY } = PodSandboxState;
      expect(await eventually(state, (seen) => seen === SANDBOX_NOTREADY)).to.equal(SANDBOX_NOTREADY);
      await removePod(bed, killed);
    }
    expect(await strays(bed)).to.deep.equal([]);
  });

  it('leaves nothing where a step of it fails', async () => {
    const config = containerConfig(bed, 'failing', ['/no/such/command']);
    const { id } = await createContainer(bed, pod, config);
    const { details } = await refusal(bed.daemon.client.runtime.startContainer({ containerId: id }));
    expect(details).to.contain('/no/such/command');
    const bad = await refusal(
      createContainer(bed, pod, containerConfig(bed, 'bad', 'true', { workingDir: '/proc/1/fd/99' })),
    );
    expect(bad.code).to.not.equal(status.UNAVAILABLE);
    expect(await strays(bed)).to.deep.equal([]);
  });

  it('is not checkpointed', async () => {
    const location = path.join(bed.daemon.instance.scratch, 'archive.tar');
    const call = bed.daemon.client.runtime.checkpointContainer({
      containerId: container.id,
      location,
      timeout: 0n,
    });
    const { code, details } = await refusal(call);
    expect(code).to.equal(status.UNIMPLEMENTED);
    expect(details).to.contain('a user namespace');
  });
});

describe('a user namespace with a CNI network', () => {
  it('owns the namespace that the plugins work in', async function () {
    await access(path.join(cniPlugins, 'bridge')).catch(() => this.skip());
    await using bed = await openBed({ settings: { 'network.bin_dirs': cniPlugins } });
    const { instance, cniDirectory } = bed.daemon;
    const plugin = {
      type: 'ptp',
      ipam: { type: 'host-local', subnet: instance.pool, dataDir: path.join(instance.scratch, 'ipam') },
    };
    const list = {
      cniVersion: '1.0.0',
      name: `userns-${path.basename(instance.scratch)}`,
      plugins: [plugin],
    };
    await writeFile(path.join(cniDirectory, '10-test.conflist'), JSON.stringify(list));
    const pod = await runPod(bed, 'cni', userns());
    const linux = { securityContext: { capabilities: { addCapabilities: ['NET_ADMIN'] } } };
    const script = 'ip -4 addr show eth0 | grep -c inet && ip link set eth0 mtu 1300 && echo changed';
    expect(await runToEnd(bed, pod, containerConfig(bed, 'net', script, { linux }))).to.deep.equal({
      exitCode: 0,
      texts: ['1', 'changed'],
    });
    await bed.end();
  });
});

/** What a server on port 80 says first, or why it cannot be asked. */
function said80(host: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port: 80, timeout: 2000 });
    socket.on('data', (data) => {
      resolve(data.toString());
      socket.destroy();
    });
    socket.on('timeout', () => socket.destroy(new Error('time-out')));
    socket.on('error', (error) => resolve(error.message));
  });
}
