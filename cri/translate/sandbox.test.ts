import { expect } from 'chai';
import { NamespaceMode, type PodSandboxConfig } from '../../protos/gen/cri/runtime/v1/api.js';
import { podConfig, testHandler, testHost } from '../testing/fixtures.js';
import { refusalOf } from '../testing/refusal.js';
import { toSandboxRequest } from './sandbox.js';

const files = { hostname: 'node', hosts: 'hosts of the node\n', resolvConf: 'nameserver 1.1.1.1\n' };
const translate = (config: PodSandboxConfig | undefined, handler = testHandler) =>
  toSandboxRequest(config, handler, testHost, files);

describe('a sandbox', () => {
  it('is asked for with everything the runtime needs', () => {
    const config = podConfig({
      hostname: 'web-0',
      labels: { app: 'web' },
      annotations: { 'org.criu.config': '/evil', 'kubernetes.io/egress-bandwidth': '1M' },
      dnsConfig: { servers: ['10.0.0.10'], searches: ['svc.local'], options: ['ndots:5'] },
      portMappings: [{ containerPort: 80, hostPort: 8080 }],
      linux: { cgroupParent: '/kubepods/pod1', sysctls: { 'kernel.shmmax': '5' } },
    });
    expect(translate(config)).to.deep.equal({
      name: 'pod_default_uid-1_0',
      client: {
        version: 1,
        metadata: { name: 'pod', uid: 'uid-1', namespace: 'default', attempt: 0 },
        labels: { app: 'web' },
        annotations: config.annotations,
        logDirectory: '/var/log/pods/pod',
        privileged: false,
      },
      handler: '',
      namespaces: { network: 'pod', ipc: 'pod', pid: 'pod' },
      hostname: 'web-0',
      sysctls: {
        'net.ipv4.ip_unprivileged_port_start': '0',
        'net.ipv4.ping_group_range': '0 2147483647',
        'kernel.shmmax': '5',
      },
      cgroupParent: '/kubepods/pod1',
      resources: undefined,
      files: {
        hosts: translate(podConfig()).files.hosts,
        resolvConf: 'search svc.local\nnameserver 10.0.0.10\noptions ndots:5\n',
      },
      network: {
        pod: { name: 'pod', namespace: 'default', uid: 'uid-1' },
        hostname: 'web-0',
        portMappings: [{ protocol: 'tcp', containerPort: 80, hostPort: 8080, hostIp: '' }],
        dns: { servers: ['10.0.0.10'], searches: ['svc.local'], options: ['ndots:5'] },
        bandwidth: { egressRate: 1_000_000 },
      },
    });
  });

  it('gets the kernel settings of its handler, unless it sets them', () => {
    const config = podConfig({ linux: { sysctls: { 'kernel.shmmax': '5' } } });
    const sysctls = { 'kernel.shmmax': '4', 'net.core.somaxconn': '9' };
    const request = translate(config, { ...testHandler, name: 'tuned', sysctls });
    expect(request.handler).to.equal('tuned');
    expect(request.sysctls).to.include({ 'kernel.shmmax': '5', 'net.core.somaxconn': '9' });
  });

  it("shares the host's name and files with the host's network", () => {
    const config = podConfig({
      hostname: 'ignored',
      linux: { securityContext: { namespaceOptions: { network: NamespaceMode.NODE } } },
    });
    const { hostname, network, files: made, sysctls } = translate(config);
    expect({ hostname, network, made, sysctls }).to.deep.equal({
      hostname: 'node',
      network: undefined,
      made: { hosts: files.hosts, resolvConf: files.resolvConf },
      sysctls: {},
    });
  });

  it('survives JSON, as records are', () => {
    const request = translate(podConfig({ labels: { a: 'b' } }));
    expect(JSON.parse(JSON.stringify({ ...request, resources: null }))).to.deep.equal({
      ...request,
      resources: null,
    });
  });

  for (const [name, config, says] of [
    ['no configuration', undefined, /^InvalidArgument: config: is missing/],
    [
      'no metadata',
      { ...podConfig(), metadata: undefined },
      /^InvalidArgument: config\.metadata: is missing/,
    ],
    ['a relative log directory', podConfig({ logDirectory: 'x' }), /^InvalidArgument: config\.log_directory/],
    [
      'a log directory that climbs',
      podConfig({ logDirectory: '/a/../../b' }),
      /^InvalidArgument: config\.log_directory/,
    ],
    [
      'a cgroup parent that climbs',
      podConfig({ linux: { cgroupParent: '/a/../..' } }),
      /^InvalidArgument: config\.linux\.cgroup_parent/,
    ],
    [
      'absurd overhead',
      podConfig({ linux: { overhead: { cpuPeriod: 1n } } }),
      /^InvalidArgument: config\.linux\.overhead/,
    ],
  ] as [string, PodSandboxConfig | undefined, RegExp][]) {
    it(`is refused with ${name}`, () => {
      expect(refusalOf(() => translate(config))).to.match(says);
    });
  }
});
