import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import { Client, Metadata, credentials, status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { NamespaceMode } from '../protos/gen/cri/runtime/v1/api.js';
import { strays } from './audit.js';
import {
  type Bed,
  type ContainerConfig,
  type Pod,
  type PodConfig,
  type Workload,
  containerConfig,
  createContainer,
  exec,
  openBed,
  podConfig,
  runContainer,
  runPod,
} from './bed.js';
import { type Canary, makeCanary } from './canary.js';
import { refusal } from './refusal.js';

const {
  INVALID_ARGUMENT,
  NOT_FOUND,
  FAILED_PRECONDITION,
  UNIMPLEMENTED,
  RESOURCE_EXHAUSTED,
  ALREADY_EXISTS,
} = status;

/** What is asked, the code it is refused with, and what the sentence must name. */
type Case<Request> = readonly [what: string, request: Request, code: status, names: RegExp];

/**
 * Requests that nobody should make. Each is refused with the right code and a sentence that names the thing, and leaves
 * nothing; the daemon goes on.
 */
describe('a hostile request', function () {
  this.timeout(60_000);
  let bed: Bed;
  let canary: Canary;
  let untouched: string;
  let pod: Pod;
  let running: Workload;
  const calls = () => bed.daemon.client;

  before(async () => {
    bed = await openBed();
    canary = await makeCanary(bed.daemon.instance.scratch);
    pod = await runPod(bed, 'steady');
    running = await runContainer(bed, pod, containerConfig(bed, 'running', 'exec sleep 1000'));
    await symlink(canary.directory, path.join(pod.logDirectory, 'link'));
    await symlink(path.join(canary.directory, 'secret'), path.join(pod.logDirectory, 'link.log'));
    await mkdir(path.join(pod.logDirectory, 'directory.log'));
    await promisify(execFile)('mkfifo', [path.join(pod.logDirectory, 'fifo.log')]);
    untouched = await canary.describe();
  });
  after(async () => {
    await bed?.end();
  });
  afterEach(async () => {
    const { items } = await calls().runtime.listPodSandbox();
    expect(items.map(({ id }) => id)).to.deep.equal([pod.id]);
    const { containers } = await calls().runtime.listContainers();
    expect(containers.map(({ id }) => id)).to.deep.equal([running.id]);
  });

  const refused = async (call: Promise<unknown>, code: status, names: RegExp): Promise<void> => {
    const refused = await refusal(call);
    expect(status[refused.code], refused.details).to.equal(status[code]);
    expect(refused.details).to.match(names);
    expect(refused.details.length).to.be.lessThan(4000);
    // eslint-disable-next-line no-control-regex -- that is what is looked for
    expect(refused.details).not.to.match(/[\x00-\x08\x0a-\x1f]/);
  };

  const metadata = (more: object): PodConfig => ({
    metadata: { name: 'n', namespace: 'n', uid: 'u', ...more },
  });
  const linux = (more: NonNullable<PodConfig['linux']>): PodConfig => ({ linux: more });
  const sysctl = (name: string, value = '1'): PodConfig => linux({ sysctls: { [name]: value } });
  const node = { securityContext: { namespaceOptions: { network: NamespaceMode.NODE } } };

  const pods: readonly Case<PodConfig>[] = [
    ['an empty name', metadata({ name: '' }), INVALID_ARGUMENT, /metadata\.name/],
    ['an empty namespace', metadata({ namespace: '' }), INVALID_ARGUMENT, /metadata\.namespace/],
    ['an empty uid', metadata({ uid: '' }), INVALID_ARGUMENT, /metadata\.uid/],
    ['a name that is a path', metadata({ name: '../../x' }), INVALID_ARGUMENT, /metadata\.name/],
    ['a name with a NUL byte', metadata({ name: 'a\0b' }), INVALID_ARGUMENT, /metadata\.name.*NUL/],
    ['a name with a line break', metadata({ name: 'a\nb' }), INVALID_ARGUMENT, /metadata\.name/],
    [
      'a name of 300 characters',
      metadata({ name: 'x'.repeat(300) }),
      INVALID_ARGUMENT,
      /metadata\.name.*253/,
    ],
    ['a name of 15 MiB', metadata({ name: 'x'.repeat(15 << 20) }), INVALID_ARGUMENT, /metadata\.name/],
    ['the name of a pod that is there', podNamed('steady'), ALREADY_EXISTS, /steady/],
    ['a relative log directory', { logDirectory: 'logs' }, INVALID_ARGUMENT, /log_directory.*"logs"/],
    ['a log directory with ..', { logDirectory: '/tmp/../etc' }, INVALID_ARGUMENT, /log_directory.*\.\./],
    ['a log directory with a NUL byte', { logDirectory: '/tmp/\0' }, INVALID_ARGUMENT, /log_directory.*NUL/],
    ['a cgroup parent with ..', linux({ cgroupParent: '/../../x' }), INVALID_ARGUMENT, /cgroup_parent/],
    ['a cgroup parent with a NUL byte', linux({ cgroupParent: '/a\0' }), INVALID_ARGUMENT, /cgroup_parent/],
    [
      'a cgroup parent with a line break',
      linux({ cgroupParent: '/a\nb' }),
      INVALID_ARGUMENT,
      /cgroup_parent/,
    ],
    [
      'a cgroup parent that is too long',
      linux({ cgroupParent: `/${'x'.repeat(300)}` }),
      INVALID_ARGUMENT,
      /cgroup/,
    ],
    ['a cgroup parent that is a file', linux({ cgroupParent: '/cgroup.procs' }), INVALID_ARGUMENT, /cgroup/],
    [
      'a cgroup parent of 3500 bytes',
      linux({ cgroupParent: '/abcd'.repeat(700) }),
      INVALID_ARGUMENT,
      /cgroup/,
    ],
    ['a hostname with a line break', { hostname: 'a\n127.0.0.1 b' }, INVALID_ARGUMENT, /hostname/],
    ['a hostname of 65 characters', { hostname: 'a'.repeat(65) }, INVALID_ARGUMENT, /hostname/],
    ['a hostname that is a path', { hostname: '../etc' }, INVALID_ARGUMENT, /hostname/],
    [
      'a name server with a second line',
      { dnsConfig: { servers: ['1.1.1.1\nnameserver 6.6.6.6'] } },
      INVALID_ARGUMENT,
      /dns_config\.servers\[0\]/,
    ],
    ['a search domain of two words', { dnsConfig: { searches: ['a b'] } }, INVALID_ARGUMENT, /searches\[0\]/],
    [
      'a resolver option with a line break',
      { dnsConfig: { options: ['a\nb'] } },
      INVALID_ARGUMENT,
      /options\[0\]/,
    ],
    [
      'a kernel setting of the host',
      sysctl('kernel.core_pattern', '|/bin/sh'),
      INVALID_ARGUMENT,
      /core_pattern/,
    ],
    ['a kernel setting by a path', sysctl('net/../kernel/core_pattern'), INVALID_ARGUMENT, /sysctls/],
    [
      'a kernel setting with a NUL byte',
      sysctl('net.ipv4.ip_forward', '1\0'),
      INVALID_ARGUMENT,
      /ip_forward/,
    ],
    [
      'a kernel setting with a line break',
      sysctl('net.ipv4.ip_forward', '1\n0'),
      INVALID_ARGUMENT,
      /ip_forward/,
    ],
    ['a kernel setting that is none', sysctl('net.ipv4.no_such_thing'), INVALID_ARGUMENT, /no_such_thing/],
    ['a value the kernel refuses', sysctl('net.ipv4.ip_forward', 'x'), INVALID_ARGUMENT, /ip_forward/],
    [
      "a network setting on the host's network",
      linux({ ...node, sysctls: { 'net.ipv4.ip_forward': '1' } }),
      INVALID_ARGUMENT,
      /ip_forward/,
    ],
    [
      'host port 70000',
      { portMappings: [{ hostPort: 70_000, containerPort: 1 }] },
      INVALID_ARGUMENT,
      /70000/,
    ],
    ['host port -1', { portMappings: [{ hostPort: -1, containerPort: 1 }] }, INVALID_ARGUMENT, /-1/],
    [
      'container port 0',
      { portMappings: [{ hostPort: 1, containerPort: 0 }] },
      INVALID_ARGUMENT,
      /container_port/,
    ],
    [
      'a host address that is a command',
      { portMappings: [{ hostPort: 1, containerPort: 1, hostIp: '1.1.1.1; flush ruleset' }] },
      INVALID_ARGUMENT,
      /host_ip/,
    ],
    [
      'protocol 99',
      { portMappings: [{ hostPort: 1, containerPort: 1, protocol: 99 as never }] },
      INVALID_ARGUMENT,
      /protocol.*99/,
    ],
    [
      'a namespace mode that does not exist',
      linux({ securityContext: { namespaceOptions: { network: 77 as never } } }),
      INVALID_ARGUMENT,
      /network.*77/,
    ],
    [
      'a user namespace without maps',
      linux({ securityContext: { namespaceOptions: { usernsOptions: { mode: NamespaceMode.POD } } } }),
      INVALID_ARGUMENT,
      /exactly one mapping/,
    ],
    ['a label with a line break in its key', { labels: { 'a\nb': '' } }, INVALID_ARGUMENT, /labels/],
    ['2 MiB of annotations', { annotations: { a: 'x'.repeat(2 << 20) } }, INVALID_ARGUMENT, /annotations/],
  ];
  for (const [what, config, code, names] of pods) {
    it(`to run a pod with ${what}`, async () => {
      await refused(
        calls().runtime.runPodSandbox({ config: podConfig(bed, 'hostile', config) }),
        code,
        names,
      );
    });
  }

  it('to run a pod without a configuration, or with an unknown handler', async () => {
    await refused(calls().runtime.runPodSandbox({}), INVALID_ARGUMENT, /config: is missing/);
    const config = podConfig(bed, 'hostile');
    await refused(
      calls().runtime.runPodSandbox({ config, runtimeHandler: 'kata' }),
      INVALID_ARGUMENT,
      /"kata"/,
    );
  });

  const resources = (
    more: NonNullable<NonNullable<ContainerConfig['linux']>['resources']>,
  ): ContainerConfig => ({
    linux: { resources: more },
  });
  const security = (
    more: NonNullable<NonNullable<ContainerConfig['linux']>['securityContext']>,
  ): ContainerConfig => ({ linux: { securityContext: more } });
  const mount = (more: object): ContainerConfig => ({
    mounts: [{ containerPath: '/data', hostPath: '/tmp', ...more }],
  });
  const log = (logPath: string): ContainerConfig => ({ logPath });
  const env = (key: string, value = 'x'): ContainerConfig => ({ envs: [{ key, value: Buffer.from(value) }] });

  const containers: readonly Case<ContainerConfig>[] = [
    ['no metadata', { metadata: undefined }, INVALID_ARGUMENT, /metadata/],
    ['an empty name', { metadata: { name: '' } }, INVALID_ARGUMENT, /metadata\.name/],
    ['a name that is a path', { metadata: { name: '../x' } }, INVALID_ARGUMENT, /metadata\.name/],
    ['the name of a container that is there', { metadata: { name: 'running' } }, ALREADY_EXISTS, /running/],
    ['no image', { image: undefined }, INVALID_ARGUMENT, /config\.image/],
    [
      'an image that is not here',
      { image: { image: 'registry.invalid/none:1' } },
      NOT_FOUND,
      /registry\.invalid\/none/,
    ],
    ['an image by a path', { image: { image: '../../../etc' } }, NOT_FOUND, /\.\.\/etc/],
    ['a log path with ..', log('../out.log'), INVALID_ARGUMENT, /log_path.*\.\./],
    ['a log path with .. inside', log('a/../../../out.log'), INVALID_ARGUMENT, /log_path/],
    ['an absolute log path', log('/etc/out.log'), INVALID_ARGUMENT, /log_path.*"\/etc\/out\.log"/],
    ['a log path that names a directory', log('a/'), INVALID_ARGUMENT, /log_path/],
    ['a log path that is .', log('.'), INVALID_ARGUMENT, /log_path/],
    ['a log path of 300 characters', log('x'.repeat(300)), INVALID_ARGUMENT, /log_path.*255/],
    ['a log path of 5000 characters', log('x/'.repeat(2500) + 'x'), INVALID_ARGUMENT, /log_path/],
    ['a log path with a NUL byte', log('a\0'), INVALID_ARGUMENT, /log_path.*NUL/],
    ['a log below a symbolic link', log('link/out.log'), FAILED_PRECONDITION, /log/],
    ['a log that is a symbolic link', log('link.log'), FAILED_PRECONDITION, /log/],
    ['a log that is a directory', log('directory.log'), FAILED_PRECONDITION, /log/],
    ['a log that is a fifo', log('fifo.log'), FAILED_PRECONDITION, /log/],
    ['an argument with a NUL byte', { command: ['a\0b'] }, INVALID_ARGUMENT, /command\[0\].*NUL/],
    ['an empty command', { command: [''] }, INVALID_ARGUMENT, /command/],
    ['an argument of 200 KiB', { args: ['x'.repeat(200 << 10)] }, INVALID_ARGUMENT, /command\[\d\]/],
    [
      'arguments of 2 MiB',
      { args: Array<string>(40).fill('x'.repeat(50 << 10)) },
      INVALID_ARGUMENT,
      /command/,
    ],
    ['a variable without a name', env(''), INVALID_ARGUMENT, /envs\[0\]\.key/],
    ['a variable with = in its name', env('a=b'), INVALID_ARGUMENT, /envs\[0\]\.key/],
    ['a variable with a NUL byte', env('a', 'b\0c'), INVALID_ARGUMENT, /envs\[0\]\.value.*NUL/],
    ['a relative working directory', { workingDir: 'tmp' }, INVALID_ARGUMENT, /working_dir/],
    ['a working directory with ..', { workingDir: '/tmp/../..' }, INVALID_ARGUMENT, /working_dir/],
    ['a mount on a relative path', mount({ containerPath: 'data' }), INVALID_ARGUMENT, /container_path/],
    ['a mount on the root', mount({ containerPath: '/' }), INVALID_ARGUMENT, /container_path/],
    ['a mount on ..', mount({ containerPath: '/a/../../b' }), INVALID_ARGUMENT, /container_path/],
    ['a mount of a relative path', mount({ hostPath: 'etc' }), INVALID_ARGUMENT, /host_path/],
    ['a mount with a NUL byte', mount({ hostPath: '/etc\0' }), INVALID_ARGUMENT, /host_path/],
    ['a mount below a file', mount({ hostPath: '/etc/passwd/x' }), FAILED_PRECONDITION, /\/etc\/passwd\/x/],
    ['a mount of unknown propagation', mount({ propagation: 9 }), INVALID_ARGUMENT, /propagation.*9/],
    [
      'a writable recursively read-only mount',
      mount({ recursiveReadOnly: true }),
      INVALID_ARGUMENT,
      /recursive/,
    ],
    [
      '2001 mounts',
      { mounts: Array.from({ length: 2001 }, () => ({ containerPath: '/a', hostPath: '/tmp' })) },
      INVALID_ARGUMENT,
      /mounts/,
    ],
    [
      'a device that is none',
      { devices: [{ hostPath: '/etc/passwd', containerPath: '/dev/x', permissions: 'rwm' }] },
      INVALID_ARGUMENT,
      /\/etc\/passwd/,
    ],
    [
      'a device that does not exist',
      { devices: [{ hostPath: '/dev/no-such', containerPath: '/dev/x', permissions: 'rwm' }] },
      NOT_FOUND,
      /\/dev\/no-such/,
    ],
    [
      'unknown rights to a device',
      { devices: [{ hostPath: '/dev/null', containerPath: '/dev/x', permissions: 'rwxyz' }] },
      INVALID_ARGUMENT,
      /permissions/,
    ],
    [
      'negative memory',
      resources({ memoryLimitInBytes: -5n }),
      INVALID_ARGUMENT,
      /memory_limit_in_bytes.*-5/,
    ],
    ['a CPU period of 5', resources({ cpuPeriod: 5n }), INVALID_ARGUMENT, /cpu_period/],
    ['a CPU quota of 1', resources({ cpuQuota: 1n }), INVALID_ARGUMENT, /cpu_quota/],
    ['CPU shares of 2^62', resources({ cpuShares: 2n ** 62n }), INVALID_ARGUMENT, /cpu_shares/],
    ['CPUs that are words', resources({ cpusetCpus: 'all' }), INVALID_ARGUMENT, /cpuset_cpus/],
    ['CPUs that are not there', resources({ cpusetCpus: '0-4095' }), INVALID_ARGUMENT, /cpuset/],
    ['memory nodes that are not there', resources({ cpusetMems: '63' }), INVALID_ARGUMENT, /cpuset/],
    ['a kill score of 5000', resources({ oomScoreAdj: 5000n }), INVALID_ARGUMENT, /oom_score_adj/],
    [
      'pages of 3 quarters',
      resources({ hugepageLimits: [{ pageSize: '3QB', limit: 1n }] }),
      INVALID_ARGUMENT,
      /3QB/,
    ],
    [
      'a limit that moves processes',
      resources({ unified: { 'cgroup.procs': '1' } }),
      INVALID_ARGUMENT,
      /cgroup\.procs/,
    ],
    ['a limit by a path', resources({ unified: { '../memory.max': '1' } }), INVALID_ARGUMENT, /memory\.max/],
    ['user -1', security({ runAsUser: { value: -1n } }), INVALID_ARGUMENT, /run_as_user.*-1/],
    ['user 4294967295', security({ runAsUser: { value: 4294967295n } }), INVALID_ARGUMENT, /run_as_user/],
    ['user 4294967296', security({ runAsUser: { value: 4294967296n } }), INVALID_ARGUMENT, /run_as_user/],
    ['user "4294967296"', security({ runAsUsername: '4294967296' }), INVALID_ARGUMENT, /4294967296/],
    ['user "+0"', security({ runAsUsername: '+0' }), INVALID_ARGUMENT, /\+0/],
    ['user "0x0"', security({ runAsUsername: '0x0' }), INVALID_ARGUMENT, /0x0/],
    ['user "00"', security({ runAsUsername: '00' }), INVALID_ARGUMENT, /00/],
    ['user "-1"', security({ runAsUsername: '-1' }), INVALID_ARGUMENT, /-1/],
    ['user "a b"', security({ runAsUsername: 'a b' }), INVALID_ARGUMENT, /a b/],
    ['user "a:b:c"', security({ runAsUsername: 'a:b:c' }), INVALID_ARGUMENT, /colon/],
    ['user "root\\n"', security({ runAsUsername: 'root\n' }), INVALID_ARGUMENT, /run_as_username/],
    ['user "nosuchuser"', security({ runAsUsername: 'nosuchuser' }), INVALID_ARGUMENT, /nosuchuser.*passwd/],
    [
      'group "nosuchgroup"',
      security({ runAsUsername: 'root:nosuchgroup' }),
      INVALID_ARGUMENT,
      /nosuchgroup.*group/,
    ],
    ['a group without a user', security({ runAsGroup: { value: 5n } }), INVALID_ARGUMENT, /run_as_group/],
    [
      'group -1',
      security({ runAsUser: { value: 0n }, runAsGroup: { value: -1n } }),
      INVALID_ARGUMENT,
      /run_as_group/,
    ],
    [
      'further group -1',
      security({ supplementalGroups: [-1n] }),
      INVALID_ARGUMENT,
      /supplemental_groups\[0\]/,
    ],
    [
      'an unknown capability',
      security({ capabilities: { addCapabilities: ['FLY'] } }),
      INVALID_ARGUMENT,
      /FLY/,
    ],
    ['privileges its pod has not', security({ privileged: true }), INVALID_ARGUMENT, /privileged/],
    [
      'a seccomp profile that is not there',
      security({ seccomp: { profileType: 2, localhostRef: '/no/such.json' } }),
      FAILED_PRECONDITION,
      /\/no\/such\.json/,
    ],
    [
      'a seccomp profile that is none',
      security({ seccomp: { profileType: 2, localhostRef: '/etc/passwd' } }),
      INVALID_ARGUMENT,
      /\/etc\/passwd/,
    ],
    ['a relative masked path', security({ maskedPaths: ['proc/kcore'] }), INVALID_ARGUMENT, /masked_paths/],
    ['a masked path with ..', security({ maskedPaths: ['/proc/../../x'] }), INVALID_ARGUMENT, /masked_paths/],
    [
      'a read-only path with a NUL byte',
      security({ readonlyPaths: ['/a\0'] }),
      INVALID_ARGUMENT,
      /readonly_paths/,
    ],
    [
      "the host's processes",
      security({ namespaceOptions: { pid: NamespaceMode.NODE } }),
      INVALID_ARGUMENT,
      /namespace_options\.pid/,
    ],
    [
      "the host's network",
      security({ namespaceOptions: { network: NamespaceMode.NODE } }),
      INVALID_ARGUMENT,
      /namespace_options\.network/,
    ],
    ['stop signal 999', { stopSignal: 999 as never }, INVALID_ARGUMENT, /stop_signal.*999/],
  ];
  for (const [what, config, code, names] of containers) {
    it(`to create a container with ${what}`, async () => {
      const whole = containerConfig(bed, 'hostile', 'exit 0', config);
      await refused(createContainer(bed, pod, whole), code, names);
    });
  }

  it('to create a container in a pod that is not there, or is not ready', async () => {
    const config = containerConfig(bed, 'hostile', 'exit 0');
    const create = (podSandboxId: string): Promise<unknown> =>
      calls().runtime.createContainer({ podSandboxId, config });
    await refused(create('f'.repeat(64)), NOT_FOUND, /pod sandbox "f{64}"/);
    await refused(create('../../etc'), NOT_FOUND, /\.\.\/etc/);
    await refused(create(''), INVALID_ARGUMENT, /pod_sandbox_id/);
    const { podSandboxId } = await calls().runtime.runPodSandbox({ config: podConfig(bed, 'ended') });
    await calls().runtime.stopPodSandbox({ podSandboxId });
    await refused(create(podSandboxId), FAILED_PRECONDITION, /not ready/);
    await calls().runtime.removePodSandbox({ podSandboxId });
    await refused(
      calls().runtime.createContainer({ podSandboxId: pod.id }),
      INVALID_ARGUMENT,
      /config: is missing/,
    );
  });

  const unknown = 'e'.repeat(64);
  const others: readonly Case<() => Promise<unknown>>[] = [
    [
      'the status of a pod that is not there',
      () => calls().runtime.podSandboxStatus({ podSandboxId: unknown }),
      NOT_FOUND,
      /e{64}/,
    ],
    [
      'the status of a container that is not there',
      () => calls().runtime.containerStatus({ containerId: unknown }),
      NOT_FOUND,
      /e{64}/,
    ],
    [
      'the status of a container by a path',
      () => calls().runtime.containerStatus({ containerId: '../x' }),
      NOT_FOUND,
      /\.\.\/x/,
    ],
    [
      'the status of no container',
      () => calls().runtime.containerStatus({}),
      INVALID_ARGUMENT,
      /container_id/,
    ],
    [
      'the figures of a container that is not there',
      () => calls().runtime.containerStats({ containerId: unknown }),
      NOT_FOUND,
      /e{64}/,
    ],
    [
      'to start a container that is not there',
      () => calls().runtime.startContainer({ containerId: unknown }),
      NOT_FOUND,
      /e{64}/,
    ],
    [
      'to start a container that runs',
      () => calls().runtime.startContainer({ containerId: running.id }),
      FAILED_PRECONDITION,
      /running/,
    ],
    ['to stop no container', () => calls().runtime.stopContainer({}), INVALID_ARGUMENT, /container_id/],
    ['to remove no container', () => calls().runtime.removeContainer({}), INVALID_ARGUMENT, /container_id/],
    ['to stop no pod', () => calls().runtime.stopPodSandbox({}), INVALID_ARGUMENT, /pod_sandbox_id/],
    ['to remove no pod', () => calls().runtime.removePodSandbox({}), INVALID_ARGUMENT, /pod_sandbox_id/],
    ['to execute nothing', () => exec(bed, running.id, []), INVALID_ARGUMENT, /cmd/],
    ['to execute a NUL byte', () => exec(bed, running.id, ['a\0']), INVALID_ARGUMENT, /cmd\[0\]/],
    [
      'to execute 200 KiB',
      () => exec(bed, running.id, ['echo', 'x'.repeat(200 << 10)]),
      INVALID_ARGUMENT,
      /cmd\[1\]/,
    ],
    ['to execute nowhere', () => exec(bed, unknown, ['true']), NOT_FOUND, /e{64}/],
    [
      'to execute what is not there',
      () => exec(bed, running.id, ['/no/such/program']),
      INVALID_ARGUMENT,
      /\/no\/such\/program/,
    ],
    [
      'to reopen a log of nothing',
      () => calls().runtime.reopenContainerLog({ containerId: unknown }),
      NOT_FOUND,
      /e{64}/,
    ],
    [
      'to update to absurd limits',
      () => calls().runtime.updateContainerResources({ containerId: running.id, linux: { cpuPeriod: 1n } }),
      INVALID_ARGUMENT,
      /cpu_period/,
    ],
    [
      'to checkpoint to a relative path',
      () => calls().runtime.checkpointContainer({ containerId: running.id, location: 'x.tar' }),
      INVALID_ARGUMENT,
      /location/,
    ],
    [
      'to checkpoint to .. ',
      () => calls().runtime.checkpointContainer({ containerId: running.id, location: '/tmp/../x' }),
      INVALID_ARGUMENT,
      /location/,
    ],
    ['to pull nothing', () => calls().image.pullImage({ image: { image: '' } }), INVALID_ARGUMENT, /image/],
    [
      'to pull a path',
      () => calls().image.pullImage({ image: { image: '../../etc' } }),
      INVALID_ARGUMENT,
      /\.\.\/etc/,
    ],
    [
      'to pull a URL',
      () => calls().image.pullImage({ image: { image: 'http://x/y' } }),
      INVALID_ARGUMENT,
      /http/,
    ],
    [
      'to pull capitals',
      () => calls().image.pullImage({ image: { image: 'x.invalid/BIG:1' } }),
      INVALID_ARGUMENT,
      /BIG/,
    ],
    [
      'to pull a broken digest',
      () => calls().image.pullImage({ image: { image: 'x.invalid/y@sha256:12' } }),
      INVALID_ARGUMENT,
      /sha256:12/,
    ],
    [
      'to pull a NUL byte',
      () => calls().image.pullImage({ image: { image: 'x.invalid/y:\0' } }),
      INVALID_ARGUMENT,
      /image/,
    ],
    [
      'to pull what the registry has not',
      () => calls().image.pullImage({ image: { image: `${bed.server.host}/none:1` } }),
      NOT_FOUND,
      /none/,
    ],
    [
      'a pod range that is none',
      () =>
        calls().runtime.updateRuntimeConfig({ runtimeConfig: { networkConfig: { podCidr: '10.0.0.0/99' } } }),
      INVALID_ARGUMENT,
      /pod_cidr/,
    ],
    [
      'a pod range that is a command',
      () =>
        calls().runtime.updateRuntimeConfig({
          runtimeConfig: { networkConfig: { podCidr: '10.0.0.0/8; reboot' } },
        }),
      INVALID_ARGUMENT,
      /pod_cidr/,
    ],
  ];
  for (const [what, call, code, names] of others) {
    it(what.startsWith('to ') ? what : `for ${what}`, async () => {
      await refused(call(), code, names);
    });
  }

  it('to stop or remove what is gone is answered as done', async () => {
    await calls().runtime.stopContainer({ containerId: unknown });
    await calls().runtime.removeContainer({ containerId: unknown });
    await calls().runtime.stopPodSandbox({ podSandboxId: unknown });
    await calls().runtime.removePodSandbox({ podSandboxId: unknown });
    await calls().image.removeImage({ image: { image: 'x.invalid/none:1' } });
    const { image } = await calls().image.imageStatus({ image: { image: 'x.invalid/none:1' } });
    expect(image).to.equal(undefined);
  });

  it('of 20 MiB is refused unread', async () => {
    const config = podConfig(bed, 'hostile', { annotations: { a: 'x'.repeat(20 << 20) } });
    await refused(calls().runtime.runPodSandbox({ config }), RESOURCE_EXHAUSTED, /larger than max/);
  });

  it('of bytes that are no message is refused', async () => {
    const client = new Client(`unix:${bed.daemon.socket}`, credentials.createInsecure());
    const send = (rpc: string, bytes: Buffer): Promise<unknown> =>
      new Promise((resolve, reject) => {
        const same = (value: Buffer): Buffer => value;
        client.makeUnaryRequest(rpc, same, same, bytes, new Metadata(), (error, answer) =>
          error === null ? resolve(answer) : reject(error),
        );
      });
    const run = '/runtime.v1.RuntimeService/RunPodSandbox';
    // A length that goes beyond the end; a group that is never closed; a varint without end.
    for (const bytes of ['0affffff7f', '0b0b0b0b', '08ffffffffffffffffffffff', 'ff'.repeat(1000)]) {
      const { code } = await refusal(send(run, Buffer.from(bytes, 'hex')));
      expect(status[code]).to.be.oneOf(['INTERNAL', 'INVALID_ARGUMENT']);
    }
    await refused(
      send('/runtime.v1.RuntimeService/NoSuchCall', Buffer.alloc(0)),
      UNIMPLEMENTED,
      /NoSuchCall/,
    );
    client.close();
  });

  it('that does not even speak gRPC disturbs nobody', async () => {
    const talk = async (bytes: string | Buffer): Promise<void> => {
      const connection = net.connect(bed.daemon.socket);
      await once(connection, 'connect');
      connection.on('error', () => undefined);
      connection.end(bytes);
      connection.resume();
      await once(connection, 'close');
    };
    await talk('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await talk('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + '\xff'.repeat(1000));
    await talk(Buffer.alloc(100_000, 0xa5));
    const idle = Array.from({ length: 200 }, () => net.connect(bed.daemon.socket));
    await Promise.all(idle.map((connection) => once(connection, 'connect')));
    expect((await exec(bed, running.id, 'echo here')).stdout).to.equal('here\n');
    for (const connection of idle) connection.destroy();
  });

  it('has left nothing, and has changed nothing of the host', async () => {
    expect(await canary.describe()).to.equal(untouched);
    expect(await strays(bed)).to.deep.equal([]);
    await writeFile(path.join(canary.directory, 'probe'), '');
    expect(await canary.describe()).not.to.equal(untouched);
  });
});

function podNamed(name: string): PodConfig {
  return { metadata: { name, namespace: 'e2e', uid: `uid-${name}`, attempt: 0 } };
}
