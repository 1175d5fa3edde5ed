import { status } from '@grpc/grpc-js';
import { NamespaceMode } from '../protos/gen/cri/runtime/v1/api.js';
import { type ContainerConfig, containerConfig, createContainer, podConfig } from './bed.js';
import { type Case, describeHostileRequests } from './hostile.suite.js';

const { INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION, ALREADY_EXISTS } = status;

describeHostileRequests(({ calls, refused, target }) => {
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
      const { bed, pod } = target();
      const whole = containerConfig(bed, 'hostile', 'exit 0', config);
      await refused(createContainer(bed, pod, whole), code, names);
    });
  }

  it('to create a container in a pod that is not there, or is not ready', async () => {
    const config = containerConfig(target().bed, 'hostile', 'exit 0');
    const create = (podSandboxId: string): Promise<unknown> =>
      calls().runtime.createContainer({ podSandboxId, config });
    await refused(create('f'.repeat(64)), NOT_FOUND, /pod sandbox "f{64}"/);
    await refused(create('../../etc'), NOT_FOUND, /\.\.\/etc/);
    await refused(create(''), INVALID_ARGUMENT, /pod_sandbox_id/);
    const { podSandboxId } = await calls().runtime.runPodSandbox({
      config: podConfig(target().bed, 'ended'),
    });
    await calls().runtime.stopPodSandbox({ podSandboxId });
    await refused(create(podSandboxId), FAILED_PRECONDITION, /not ready/);
    await calls().runtime.removePodSandbox({ podSandboxId });
    await refused(
      calls().runtime.createContainer({ podSandboxId: target().pod.id }),
      INVALID_ARGUMENT,
      /config: is missing/,
    );
  });
});
