import { execFile } from 'node:child_process';
import { access, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import net from 'node:net';
import { arch } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { SecurityProfile_ProfileType } from '../protos/gen/cri/runtime/v1/api.js';
import {
  type Bed,
  type ContainerConfig,
  type Pod,
  containerConfig,
  createContainer,
  exitOf,
  openBed,
  pidOf,
  podConfig,
  removePod,
  runContainer,
  runPod,
} from './bed.js';
import { awaitLine } from './container-log.js';
import { writeHostsDirectory } from './fixtures/hosts-directory.js';
import { buildImage, buildLayer } from './fixtures/image-builder.js';
import { cniPlugins, repository, tool } from './places.js';
import { refusal } from './refusal.js';

const run = promisify(execFile);

/** What `podwright why` prints. */
async function why({ daemon }: Bed, object: string): Promise<string> {
  const program = path.join(repository, 'hack/podwright');
  const options = ['--socket', daemon.socket, '--config', '/dev/null'];
  return (await run(program, ['why', object, ...options])).stdout;
}

/** The sentence that names the cause: the first line. */
async function cause(bed: Bed, object: string): Promise<string> {
  const [sentence = ''] = (await why(bed, object)).split('\n');
  return sentence;
}

describe('podwright why', function () {
  this.timeout(120_000);
  let bed: Bed;
  let pod: Pod;

  before(async () => {
    bed = await openBed({ settings: { 'log.level': 'debug' } });
    pod = await runPod(bed, 'web');
  });
  after(async () => {
    await bed?.end();
  });

  const create = (name: string, more: ContainerConfig = {}, command: string | string[] = 'exec sleep 1000') =>
    createContainer(bed, pod, containerConfig(bed, name, command, more));
  /** Creates it and has its start refused. */
  const refusedStart = async (name: string, command: string[], more: ContainerConfig = {}) => {
    const { id } = await create(name, more, command);
    return { id, ...(await refusal(bed.daemon.client.runtime.startContainer({ containerId: id }))) };
  };
  const runIt = (name: string, script: string, more: ContainerConfig = {}) =>
    runContainer(bed, pod, containerConfig(bed, name, script, more));
  const pull = (image: string, auth?: { username: string; password: string }) =>
    bed.daemon.client.image.pullImage({ image: { image }, ...(auth && { auth }), sandboxConfig: pod.config });

  it('names an image that is not found', async () => {
    const image = `${bed.server.host}/test/absent:1`;
    expect(status[(await refusal(pull(image))).code]).to.equal('NOT_FOUND');
    expect(await cause(bed, image)).to.equal(
      `image ${image}: pull image failed: get manifest 1 of test/absent from ${bed.server.host}: the registry does not have it (1 is not here)`,
    );
  });

  it('names wrong credentials, and keeps them to itself', async () => {
    const image = `${bed.server.host}/locked/image:1`;
    bed.server.intercept = ({ url }, response) => {
      if (!url.includes('/locked/')) return false;
      response.writeHead(401, { 'www-authenticate': 'Basic realm="test"' }).end();
      return true;
    };
    const auth = { username: 'somebody', password: 'hunter2-hunter2' };
    expect(status[(await refusal(pull(image, auth))).code]).to.equal('UNAUTHENTICATED');
    expect(await cause(bed, image)).to.equal(
      `image ${image}: pull image failed: get manifest 1 of locked/image from ${bed.server.host}: the registry refuses the credentials`,
    );
    const basic = Buffer.from(`${auth.username}:${auth.password}`).toString('base64');
    const env = [{ key: 'TOKEN', value: Buffer.from('swordfish-swordfish') }];
    await refusedStart('secretive', ['no-such-command'], { envs: env });
    await refusal(create('secretive-too', { envs: env, workingDir: '../up' }));
    for (const text of [await everythingSaid('web'), await bed.daemon.readLog()])
      for (const secret of [auth.username, auth.password, basic, 'swordfish'])
        expect(text).not.to.contain(secret);
  });

  /** What can be learned from the journal: by its file, by a question, in the verbose status of the node. */
  const everythingSaid = async (object: string): Promise<string> => {
    const { info } = await bed.daemon.client.runtime.status({ verbose: true });
    const said = await why(bed, object);
    await bed.daemon.restart();
    const file = await readFile(path.join(bed.daemon.instance.state, 'journal.jsonl'), 'utf8');
    expect(file).to.contain('locked/image');
    return [JSON.stringify(info), said, file].join('\n');
  };

  it('names a registry that cannot be reached', async () => {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as net.AddressInfo;
    server.close();
    const host = `127.0.0.1:${port}`;
    await writeHostsDirectory(bed.daemon.hostsDirectory, host, []);
    const image = `${host}/test/image:1`;
    const { code, details } = await refusal(pull(image));
    expect(status[code]).to.equal('UNKNOWN');
    expect(details).to.match(/^RegistryUnavailable: /);
    expect(await cause(bed, image)).to.equal(
      `image ${image}: pull image failed: reach registry: ${host}: connection refused`,
    );
  });

  it('names a command that is not found', async () => {
    const { id, code } = await refusedStart('missing', ['no-such-command']);
    expect(status[code]).to.equal('INVALID_ARGUMENT');
    const sentence = 'exec "no-such-command": executable file not found in $PATH';
    expect(await exitOf(bed, id)).to.include({ reason: 'StartError', message: sentence });
    const said = await why(bed, id.slice(0, 12));
    expect(said.split('\n')[0]).to.equal(`container web/missing: start container failed: ${sentence}`);
    expect(said)
      .to.match(/\n {2}\S+Z {2}create container {2}[\d.]+ ms\n {6}stages .*monitor [\d.]+ ms/)
      .and.match(/plan step +child \d+ exec\n/)
      .and.match(/system call +execve no-such-command: ENOENT\n/);
  });

  it('names a file that is not executable', async () => {
    const { id } = await refusedStart('plain', ['/etc/passwd']);
    expect(await cause(bed, id)).to.equal(
      'container web/plain: start container failed: exec "/etc/passwd": permission denied: not executable',
    );
  });

  it('names a program of another architecture', async () => {
    const layer = await buildLayer([{ name: 'app', mode: 0o755, content: alienProgram() }]);
    const image = bed.serve('alien', buildImage({ layers: [layer], config: {} }));
    await pull(image);
    const { id } = await refusedStart('alien', ['/app'], { image: { image } });
    expect(await cause(bed, id)).to.equal(
      `container web/alien: start container failed: exec "/app": exec format error: no program for this machine (${arch()}), nor a script with #!`,
    );
  });

  it('names the source of a bind mount that is missing', async () => {
    const hostPath = path.join(bed.daemon.instance.scratch, 'dangling');
    await symlink('/nowhere/at/all', hostPath);
    await writeFile(path.join(bed.daemon.instance.scratch, 'file'), '');
    const below = path.join(bed.daemon.instance.scratch, 'file/below');
    const mount = (source: string) => ({ mounts: [{ containerPath: '/data', hostPath: source }] });
    expect(status[(await refusal(create('below', mount(below)))).code]).to.equal('FAILED_PRECONDITION');
    expect(await cause(bed, 'web/below')).to.equal(
      `container web/below: create container failed: mount /data (bind from ${below}): ENOTDIR: not a directory`,
    );
    expect(status[(await refusal(create('bound', mount(hostPath)))).code]).to.equal('FAILED_PRECONDITION');
    expect(await cause(bed, 'web/bound')).to.match(
      /^container web\/bound: create container failed: mount \/data \(bind from .*dangling\): there is no .*dangling, and a directory cannot be made there: /,
    );
  });

  it('names a root file system that is read-only', async () => {
    const more = { linux: { securityContext: { readonlyRootfs: true } } };
    const { id } = await runIt('readonly', 'exec touch /here', more);
    await exitOf(bed, id);
    expect(await cause(bed, 'web/readonly')).to.equal(
      'container web/readonly: exited with status 1: its root file system is read-only, and it said "touch: /here: Read-only file system" (mount a volume where it writes)',
    );
  });

  it('names memory', async () => {
    const more = { linux: { resources: { memoryLimitInBytes: 33_554_432n } } };
    const { id } = await runIt('greedy', 'exec tail /dev/zero', more);
    const message =
      'killed by the kernel: its memory limit of 33554432 bytes was used up (raise it, or use less)';
    expect(await exitOf(bed, id)).to.include({ reason: 'OOMKilled', message });
    expect(await cause(bed, id)).to.equal(`container web/greedy: ${message}`);
  });

  it('names the signal that killed a container', async () => {
    const { id } = await runIt('killed', 'exec sleep 1000');
    process.kill(await pidOf(bed, id), 'SIGKILL');
    const message = 'killed by signal 9 (SIGKILL), which Podwright did not send';
    expect(await exitOf(bed, id)).to.include({ reason: 'Error', message });
    expect(await cause(bed, id)).to.equal(`container web/killed: ${message}`);
  });

  it('names a stop that took too long', async () => {
    const { id, log } = await runIt('stubborn', 'trap "" TERM; echo ready; while :; do sleep 0.1; done');
    await awaitLine(log, 'ready');
    await bed.daemon.client.runtime.stopContainer({ containerId: id, timeout: 1n });
    const message = "killed by signal 9 (SIGKILL): it had not ended 1 s after the stop's signal 15 (SIGTERM)";
    expect((await exitOf(bed, id)).message).to.equal(message);
    expect(await cause(bed, id)).to.equal(`container web/stubborn: ${message}`);
  });

  it('names a user that the image does not know', async () => {
    const more = { linux: { securityContext: { runAsUsername: 'nobody-here' } } };
    expect(status[(await refusal(create('stranger', more))).code]).to.equal('INVALID_ARGUMENT');
    expect(await cause(bed, 'web/stranger')).to.equal(
      'container web/stranger: create container failed: user "nobody-here": no such entry in /etc/passwd of the image (a number needs none)',
    );
  });

  it('names a seccomp profile that is missing', async () => {
    const seccomp = {
      profileType: SecurityProfile_ProfileType.Localhost,
      localhostRef: '/nowhere/profile.json',
    };
    const refused = await refusal(create('filtered', { linux: { securityContext: { seccomp } } }));
    expect(status[refused.code]).to.equal('FAILED_PRECONDITION');
    expect(await cause(bed, 'web/filtered')).to.equal(
      'container web/filtered: create container failed: seccomp profile /nowhere/profile.json: ENOENT: no such file or directory',
    );
  });

  it('names a port that is taken', async () => {
    const portMappings = [{ hostPort: 28_231, containerPort: 80 }];
    const holder = await runPod(bed, 'holder', { portMappings });
    await refusal(runPod(bed, 'late', { portMappings }));
    expect(await cause(bed, 'late')).to.equal(
      `pod late: run pod sandbox failed: host port 28231/tcp is taken by pod sandbox ${holder.id}`,
    );
    await removePod(bed, holder);
  });

  it('names a disk that is full, of logs', async () => {
    const directory = path.join(bed.daemon.instance.scratch, 'small');
    await mkdir(directory);
    await run('mount', ['-t', 'tmpfs', '-o', 'nr_inodes=2', 'tmpfs', directory]);
    try {
      const logDirectory = path.join(directory, 'a/b');
      const { code } = await refusal(runPod(bed, 'full', { logDirectory }));
      expect(status[code]).to.equal('RESOURCE_EXHAUSTED');
      expect(await cause(bed, 'full')).to.equal(
        `pod full: run pod sandbox failed: make log directory ${logDirectory}: ENOSPC: no space left on device`,
      );
    } finally {
      await run('umount', [directory]);
    }
  });

  it('names a disk that is full, of images', async () => {
    const directory = path.join(bed.daemon.instance.scratch, 'disk');
    await mkdir(directory);
    await run('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', directory]);
    try {
      await using small = await openBed({ settings: { root: path.join(directory, 'root') } });
      const layer = await buildLayer([{ name: 'big', content: Buffer.alloc(32 * 1024 * 1024, 1) }]);
      const image = small.serve('big', buildImage({ layers: [layer], config: {} }));
      const { code } = await refusal(small.daemon.client.image.pullImage({ image: { image } }));
      expect(status[code]).to.equal('RESOURCE_EXHAUSTED');
      expect(await cause(small, image)).to.match(
        /^image .*: pull image failed: unpack layer sha256:.* ENOSPC \(no space, or no inode, left on the device\)$/,
      );
      await small.end();
    } finally {
      await run('umount', [directory]);
    }
  });

  it('remembers what failed in another life of the daemon, and of what was removed', async () => {
    const { id } = await refusedStart('gone', ['no-such-command']);
    await bed.daemon.client.runtime.removeContainer({ containerId: id });
    await refusal(create('never', { workingDir: '../up' }));
    await refusal(create('never', { workingDir: '../up' }));
    await bed.daemon.restart();
    expect(await why(bed, 'e2e/web/gone')).to.match(
      /^container web\/gone: start container failed: exec [^]*remove container/,
    );
    expect(await why(bed, 'never')).to.match(
      /^container web\/never: create container failed: .*working_dir[^]*\(2 times since /,
    );
    const { stderr } = await run(path.join(repository, 'hack/podwright'), [
      ...['why', 'nobody', '--socket', bed.daemon.socket, '--config', '/dev/null'],
    ]).catch((error: unknown) => error as { stderr: string });
    expect(stderr).to.match(/^podwright: nothing is known of "nobody": .*\n$/);
  });

  it('says of what runs that nothing has failed', async () => {
    const { id, log } = await runIt('healthy', 'echo one; echo two; exec sleep 1000');
    await awaitLine(log, 'two');
    const said = await why(bed, id);
    expect(said).to.match(/^container web\/healthy: running: nothing has failed\n/);
    expect(said).to.match(/\n {2}log .*healthy\.log\n {4}one\n {4}two\n$/);
  });

  it('is answered by crictl, too', async function () {
    await access(tool('crictl')).catch(() => this.skip());
    const crictl = async (...args: readonly string[]) =>
      (await run(tool('crictl'), ['--runtime-endpoint', `unix://${bed.daemon.socket}`, ...args])).stdout;
    const { id } = await refusedStart('seen', ['no-such-command']);
    expect(await crictl('info')).to.contain(
      'container web/seen: start container failed: exec \\"no-such-command\\"',
    );
    expect(await crictl('inspect', id)).to.contain('"what": "start container"');
    expect(await crictl('inspectp', pod.id)).to.contain('"what": "run pod sandbox"');
  });
});

describe('podwright why, of networks', function () {
  this.timeout(120_000);
  let bed: Bed;
  let subnets = 0;

  before(async () => {
    bed = await openBed({ settings: { 'network.pool': '10.251.7.0/30' } });
  });
  after(async () => {
    await bed?.end();
  });

  /** Has the pod refused, with this plugin as the only network of the node. */
  const refusedWith = async (plugin: object, pod: string): Promise<string> => {
    const file = path.join(bed.daemon.cniDirectory, '10-test.conflist');
    subnets += 1;
    await writeFile(
      file,
      JSON.stringify({ cniVersion: '1.0.0', name: `test-${subnets}`, plugins: [plugin] }),
    );
    await bed.daemon.restart();
    await refusal(bed.daemon.client.runtime.runPodSandbox({ config: podConfig(bed, pod) }));
    return why(bed, pod);
  };

  it('names a pool without a free address', async () => {
    await runPod(bed, 'first');
    const { code } = await refusal(runPod(bed, 'second'));
    expect(status[code]).to.equal('RESOURCE_EXHAUSTED');
    expect(await cause(bed, 'second')).to.equal(
      'pod second: run pod sandbox failed: network pool 10.251.7.0/30 has no free address (each pod takes one: remove pods, or widen it)',
    );
    await bed.daemon.removeAll();
  });

  it('names a CNI plugin that is missing', async () => {
    const said = await refusedWith({ type: 'nowhere' }, 'unplugged');
    expect(said.split('\n')[0]).to.equal(
      `pod unplugged: run pod sandbox failed: CNI plugin "nowhere" is not in ${cniPlugins}`,
    );
  });

  it('names the range of a CNI plugin that has no free address, in its own words', async function () {
    await access(path.join(cniPlugins, 'host-local')).catch(() => this.skip());
    const dataDir = path.join(bed.daemon.instance.scratch, 'leases');
    // The only address is the gateway's.
    const ranges = [[{ subnet: '10.251.8.0/30', rangeStart: '10.251.8.1', rangeEnd: '10.251.8.1' }]];
    const plugin = {
      type: 'bridge',
      bridge: `${bed.daemon.instance.bridge}`,
      isGateway: true,
      ipam: { type: 'host-local', dataDir, ranges },
    };
    const said = await refusedWith(plugin, 'homeless');
    expect(said.split('\n')[0]).to.match(
      /^pod homeless: run pod sandbox failed: CNI ADD of network test-\d, plugin bridge: .*no IP addresses available in range set/,
    );
    expect(said).to.match(/\n {6}output +\{/);
    await run('ip', ['link', 'delete', bed.daemon.instance.bridge]).catch(() => undefined);
  });
});

/** An ELF header of a machine that this one is not. */
function alienProgram(): Buffer {
  const header = Buffer.alloc(120);
  header.write('\x7fELF\x02\x01\x01', 'latin1');
  header.writeUInt16LE(2, 16);
  // s390x
  header.writeUInt16LE(22, 18);
  header.writeUInt32LE(1, 20);
  return header;
}
