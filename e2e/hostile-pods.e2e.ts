import { status } from '@grpc/grpc-js';
import { NamespaceMode } from '../protos/gen/cri/runtime/v1/api.js';
import { type PodConfig, podConfig } from './bed.js';
import { type Case, describeHostileRequests } from './hostile.suite.js';

const { INVALID_ARGUMENT, ALREADY_EXISTS } = status;

describeHostileRequests(({ calls, refused, target }) => {
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
    [
      'the name of a pod that is there',
      metadata({ name: 'steady', namespace: 'e2e', uid: 'uid-steady' }),
      ALREADY_EXISTS,
      /steady/,
    ],
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
        calls().runtime.runPodSandbox({ config: podConfig(target().bed, 'hostile', config) }),
        code,
        names,
      );
    });
  }

  it('to run a pod without a configuration, or with an unknown handler', async () => {
    await refused(calls().runtime.runPodSandbox({}), INVALID_ARGUMENT, /config: is missing/);
    const config = podConfig(target().bed, 'hostile');
    await refused(
      calls().runtime.runPodSandbox({ config, runtimeHandler: 'kata' }),
      INVALID_ARGUMENT,
      /"kata"/,
    );
  });
});
