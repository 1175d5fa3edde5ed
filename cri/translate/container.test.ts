import { expect } from 'chai';
import type { ContainerConfig, SupplementalGroupsPolicy } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Sandbox } from '../../runtime/sandbox/types.js';
import { validateSpec } from '../../runtime/spec/validate.js';
import {
  containerConfig,
  podConfig,
  securityConfig,
  testHandler,
  testHost,
  testImage,
} from '../testing/fixtures.js';
import { refusalOf } from '../testing/refusal.js';
import { podClientOf } from './client-record.js';
import { toContainerRequest, toContainerWishes } from './container.js';
import { toDevices } from './devices.js';
import { toSandboxRequest } from './sandbox.js';
import { resolveUser } from './user.js';

const files = { hostname: 'node', hosts: '', resolvConf: '' };

function sandbox(privileged = false): Sandbox {
  return {
    id: 's1',
    request: toSandboxRequest(
      podConfig({ hostname: 'web', linux: { securityContext: { privileged } } }),
      testHandler,
      testHost,
      files,
    ),
    createdAtNs: 1n,
    state: { phase: 'ready', pause: { pid: 1, startTime: '0' } },
    cgroupPath: '/x',
    netnsPath: undefined,
    network: undefined,
    timingsMs: {},
    files: { hosts: '', hostname: '', resolvConf: '' },
  };
}

function translate(config: ContainerConfig, { host = testHost, image = testImage(), pod = sandbox() } = {}) {
  const wishes = toContainerWishes(config, podClientOf(pod), host, testHandler);
  return toContainerRequest(config, pod, host, {
    handler: testHandler,
    image,
    user: resolveUser(wishes.user, image.config.user, { passwd: undefined, group: undefined }),
    volumes: wishes.volumes,
    devices: toDevices([]),
    seccomp: undefined,
    apparmorProfile: undefined,
  });
}

describe('a container', () => {
  it('is asked for with a spec that the runtime accepts', () => {
    const request = translate(
      containerConfig({
        args: ['--port=80'],
        envs: [{ key: 'A', value: Buffer.from('b') }],
        mounts: [{ containerPath: '/data', hostPath: '/srv/data', readonly: true }],
        logPath: 'app/0.log',
        stdin: true,
        stdinOnce: true,
        tty: true,
        labels: { l: '1' },
        annotations: { 'org.systemd.property.X': 'evil' },
        linux: {
          resources: { memoryLimitInBytes: 1_000_000n, oomScoreAdj: 900n },
          securityContext: {
            runAsUser: { value: 1000n },
            runAsGroup: { value: 2000n },
            supplementalGroups: [3000n],
            readonlyRootfs: true,
            noNewPrivs: true,
            maskedPaths: ['/proc/kcore'],
            readonlyPaths: ['/proc/sys'],
          },
        },
      }),
    );
    const { spec, client, ...rest } = request;
    expect(rest).to.deep.equal({
      sandboxId: 's1',
      name: 'app_pod_default_uid-1_0',
      sandboxNamespaces: ['network', 'uts', 'ipc', 'pid'],
      pidTarget: undefined,
      imageMounts: [],
      image: { id: testImage().id, chainId: testImage().id },
      stdio: { tty: true, stdin: true, stdinOnce: true },
      log: { directory: '/var/log/pods/pod', path: 'app/0.log' },
      volumes: [],
      stopSignal: 15,
    });
    expect(client).to.deep.include({ metadata: { name: 'app', attempt: 0 }, labels: { l: '1' } });
    expect(spec.annotations).to.equal(undefined);
    expect(spec.root).to.deep.equal({ path: 'rootfs', readonly: true });
    expect(spec.process).to.deep.include({
      terminal: true,
      args: ['/bin/app', '--port=80'],
      cwd: '/',
      noNewPrivileges: true,
      oomScoreAdj: 900,
      user: { uid: 1000, gid: 2000, additionalGids: [2000, 3000] },
    });
    expect(spec.process?.env).to.include.members(['HOSTNAME=web', 'TERM=xterm', 'A=b', 'HOME=/']);
    expect(spec.linux?.resources?.memory).to.deep.equal({ limit: 1_000_000, swap: 1_000_000 });
    expect(spec.linux).to.deep.include({ maskedPaths: ['/proc/kcore'], readonlyPaths: ['/proc/sys'] });
    validateSpec(spec);
    expect(JSON.parse(JSON.stringify(request))).to.deep.equal(JSON.parse(JSON.stringify(request)));
  });

  it('is allowed no device but the default ones', () => {
    const { spec } = translate(containerConfig());
    const allowed = spec.linux?.resources?.devices?.filter((rule) => rule.allow && rule.access !== 'm');
    expect(spec.linux?.resources?.devices?.[0]).to.deep.equal({ allow: false, access: 'rwm' });
    expect(allowed?.map(({ type, major, minor }) => [type, major, minor])).to.deep.equal([
      ['c', 1, 3],
      ['c', 1, 5],
      ['c', 1, 7],
      ['c', 1, 8],
      ['c', 1, 9],
      ['c', 5, 0],
      ['c', 5, 2],
      ['c', 136, undefined],
    ]);
  });

  it('is privileged in a privileged sandbox only', () => {
    const config = securityConfig({ privileged: true, maskedPaths: ['/proc/kcore'] });
    expect(refusalOf(() => translate(config))).to.match(
      /^InvalidArgument: .*privileged: needs a privileged sandbox/,
    );
    const { spec } = translate(config, { pod: sandbox(true) });
    expect(spec.process?.capabilities?.bounding).to.deep.equal(testHost.capabilities);
    expect(spec.linux?.maskedPaths).to.deep.equal([]);
    expect(spec.linux?.namespaces?.map(({ type }) => type)).to.deep.equal(['mount']);
    validateSpec(spec);
  });

  it('never gets a lower oom score than the daemon may give', () => {
    const config = containerConfig({ linux: { resources: { oomScoreAdj: -999n } } });
    expect(translate(config).spec.process?.oomScoreAdj).to.equal(-999);
    const host = { ...testHost, minOomScoreAdj: -100 };
    expect(translate(config, { host }).spec.process?.oomScoreAdj).to.equal(-100);
  });

  it('takes signal, directory and volumes from its image', () => {
    const image = testImage({ stopSignal: 'SIGQUIT', workingDir: '/srv', volumes: ['/data'], user: '7:8' });
    const request = translate(containerConfig(), { image });
    expect(request).to.deep.include({ stopSignal: 3, volumes: ['/data'] });
    expect(request.spec.process).to.deep.include({
      cwd: '/srv',
      user: { uid: 7, gid: 8, additionalGids: [8] },
    });
  });

  it('has volumes relabelled only where there are labels', () => {
    const config = containerConfig({
      mounts: [{ containerPath: '/data', hostPath: '/srv/data', selinuxRelabel: true }],
    });
    expect(translate(config).spec.mounts?.at(-1)?.destination).to.equal('/data');
    expect(refusalOf(() => translate(config, { host: { ...testHost, selinux: true } }))).to.match(
      /^Unimplemented: config\.mounts\[0\]\.selinux_relabel/,
    );
  });

  for (const [name, config, says] of [
    [
      'no metadata',
      { ...containerConfig(), metadata: undefined },
      /^InvalidArgument: config\.metadata: is missing/,
    ],
    ['no name', containerConfig({ metadata: { name: '' } }), /^InvalidArgument: config\.metadata\.name/],
    ['no image', { ...containerConfig(), image: undefined }, /^InvalidArgument: config\.image: is missing/],
    ['an empty image', containerConfig({ image: { image: '' } }), /^InvalidArgument: config\.image\.image/],
    ['a log path that climbs', containerConfig({ logPath: '../../x' }), /^InvalidArgument: config\.log_path/],
    [
      'an unknown groups policy',
      securityConfig({ supplementalGroupsPolicy: 5 as SupplementalGroupsPolicy }),
      /^InvalidArgument: .*supplemental_groups_policy/,
    ],
    [
      'another user namespace than the sandbox',
      securityConfig({
        namespaceOptions: {
          usernsOptions: {
            mode: 0,
            uids: [{ hostId: 100_000, length: 10 }],
            gids: [{ hostId: 100_000, length: 10 }],
          },
        },
      }),
      /^InvalidArgument: .*same as the sandbox': that of the node/,
    ],
  ] as [string, ContainerConfig, RegExp][]) {
    it(`is refused with ${name}`, () => {
      expect(refusalOf(() => translate(config))).to.match(says);
    });
  }
});
