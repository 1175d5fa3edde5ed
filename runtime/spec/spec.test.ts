import { expect } from 'chai';
import fc from 'fast-check';
import { RuntimeError } from '../errors.js';
import { capabilitiesOf, capabilityMask, capabilityNames } from './capabilities.js';
import { parseSpec } from './parse.js';
import type { Linux, Mount, Process, Spec } from './types.js';
import { validateProcess, validateSpec, validateSysctls } from './validate.js';

const process_: Process = { args: ['sh'], cwd: '/', user: { uid: 0, gid: 0 } };
const spec: Spec = { ociVersion: '1.2.0', process: process_ };

const withMount = (mount: Mount): Spec => ({ ...spec, mounts: [mount] });
const withLinux = (linux: Linux): Spec => ({ ...spec, linux });
const withProcess = (change: Partial<Process>): Spec => ({ ...spec, process: { ...process_, ...change } });

describe('a spec', () => {
  const good: readonly (readonly [string, Spec])[] = [
    ['nearly empty', { ociVersion: '1.2.0' }],
    ['with a host name of its own', { ...withLinux({ namespaces: [{ type: 'uts' }] }), hostname: 'a.b-c' }],
    ['with a bind told by its options', withMount({ destination: '/x', source: '/y', options: ['rbind'] })],
    ['with a file name that has dots', withMount({ destination: '/..data/x..', type: 'tmpfs' })],
    ['with unlimited limits', withProcess({ rlimits: [{ type: 'RLIMIT_CORE', soft: 2 ** 64, hard: -1 }] })],
    ['with the largest ids', withProcess({ user: { uid: 4294967294, gid: 4294967294 } })],
    ['with an empty value in the environment', withProcess({ env: ['A='] })],
    [
      'with namespaced sysctls',
      withLinux({
        namespaces: [{ type: 'network' }, { type: 'ipc', path: '/proc/7/ns/ipc' }],
        sysctl: {
          'net.ipv4.conf.eth0.rp_filter': '1',
          'net/ipv4/ping_group_range': '0\t2147483647',
          'kernel.sem': '1 2 3 4',
          'fs.mqueue.msg_max': '10',
        },
      }),
    ],
  ];
  for (const [what, value] of good) it(`${what} is fine`, () => validateSpec(value));

  const bad: readonly (readonly [string, Spec])[] = [
    ['process.args has no command', withProcess({ args: [] })],
    ['process.args has no command', withProcess({ args: [''] })],
    ['process.args[1] has a NUL byte', withProcess({ args: ['a', 'b\0c'] })],
    ['process.env[0] "A" is not NAME=value', withProcess({ env: ['A'] })],
    ['process.env[0] "=x" is not NAME=value', withProcess({ env: ['=x'] })],
    ['process.cwd "" is not absolute', withProcess({ cwd: '' })],
    ['process.cwd "/a/../b" has ".."', withProcess({ cwd: '/a/../b' })],
    ['process.user.uid 4294967295 is not within', withProcess({ user: { uid: 4294967295, gid: 0 } })],
    ['process.user.uid -1 is not within', withProcess({ user: { uid: -1, gid: 0 } })],
    ['process.user.gid 4294967296 is not within', withProcess({ user: { uid: 0, gid: 4294967296 } })],
    ['process.user.gid NaN is not within', withProcess({ user: { uid: 0, gid: NaN } })],
    [
      'process.user.additionalGids[1] 0.5',
      withProcess({ user: { uid: 0, gid: 0, additionalGids: [1, 0.5] } }),
    ],
    ['process.user.umask 512', withProcess({ user: { uid: 0, gid: 0, umask: 512 } })],
    [
      'process.capabilities.permitted "CHOWN" is no capability',
      withProcess({ capabilities: { permitted: ['CHOWN'] } }),
    ],
    ['process.capabilities.ambient "cap_chown"', withProcess({ capabilities: { ambient: ['cap_chown'] } })],
    [
      'process.rlimits[0].type "RLIMIT_X" is no resource',
      withProcess({ rlimits: [{ type: 'RLIMIT_X', soft: 1, hard: 1 }] }),
    ],
    [
      'process.rlimits[1].type RLIMIT_CPU is there twice',
      withProcess({
        rlimits: [
          { type: 'RLIMIT_CPU', soft: 1, hard: 1 },
          { type: 'RLIMIT_CPU', soft: 1, hard: 1 },
        ],
      }),
    ],
    [
      'process.rlimits[0].soft 2 is above',
      withProcess({ rlimits: [{ type: 'RLIMIT_CPU', soft: 2, hard: 1 }] }),
    ],
    [
      'process.rlimits[0].soft -1 is above',
      withProcess({ rlimits: [{ type: 'RLIMIT_CPU', soft: -1, hard: 1 }] }),
    ],
    ['process.oomScoreAdj 1001', withProcess({ oomScoreAdj: 1001 })],
    ['process.consoleSize.width 70000', withProcess({ consoleSize: { height: 1, width: 70000 } })],
    ["hostname cannot be set in the host's uts namespace", { ...spec, hostname: 'x' }],
    [
      'hostname is longer than 64 bytes',
      { ...withLinux({ namespaces: [{ type: 'uts' }] }), hostname: 'x'.repeat(65) },
    ],
    [
      'hostname "a\\nb" is no host name',
      { ...withLinux({ namespaces: [{ type: 'uts' }] }), hostname: 'a\nb' },
    ],
    ['mounts[0].destination "x" is not absolute', withMount({ destination: 'x', type: 'tmpfs' })],
    ['mounts[0].destination is the root itself', withMount({ destination: '//', type: 'tmpfs' })],
    ['mounts[0].destination "/a/.." has ".."', withMount({ destination: '/a/..', type: 'tmpfs' })],
    ['mounts[0].destination has a NUL byte', withMount({ destination: '/a\0', type: 'tmpfs' })],
    ['mounts[0].destination is longer', withMount({ destination: `/${'ä'.repeat(3000)}`, type: 'tmpfs' })],
    ['mounts[0].source has a NUL byte', withMount({ destination: '/a', source: '/x\0y', type: 'bind' })],
    ['mounts[0].source "" is not absolute', withMount({ destination: '/a', type: 'bind' })],
    ['mounts[0].type is missing', withMount({ destination: '/a', source: 'x' })],
    [
      'mounts[0].options[0] has a NUL byte',
      withMount({ destination: '/a', type: 'tmpfs', options: ['a\0'] }),
    ],
    [
      'mounts[0].uidMappings[0].size 0',
      withMount({ destination: '/a', type: 'tmpfs', uidMappings: [{ containerID: 0, hostID: 0, size: 0 }] }),
    ],
    [
      'linux.namespaces[1].type pid is there twice',
      withLinux({ namespaces: [{ type: 'pid' }, { type: 'pid' }] }),
    ],
    ['linux.namespaces[0].type "x" is no namespace', withLinux({ namespaces: [{ type: 'x' as 'pid' }] })],
    [
      'linux.namespaces[0].path "ns" is not absolute',
      withLinux({ namespaces: [{ type: 'pid', path: 'ns' }] }),
    ],
    ['linux.devices[0].path "null" is not absolute', withLinux({ devices: [{ path: 'null', type: 'c' }] })],
    [
      'linux.devices[0].type "x" is no device type',
      withLinux({ devices: [{ path: '/x', type: 'x' as 'c' }] }),
    ],
    ['linux.devices[0].major 4096', withLinux({ devices: [{ path: '/x', type: 'c', major: 4096 }] })],
    ['linux.devices[0].minor 1048576', withLinux({ devices: [{ path: '/x', type: 'c', minor: 1048576 }] })],
    ['linux.maskedPaths[0] "a" is not absolute', withLinux({ maskedPaths: ['a'] })],
    ['linux.readonlyPaths[0] "/a/../b" has ".."', withLinux({ readonlyPaths: ['/a/../b'] })],
    ['linux.rootfsPropagation "rpublic"', withLinux({ rootfsPropagation: 'rpublic' })],
    [
      'linux.uidMappings[1].containerID overlaps',
      withLinux({
        uidMappings: [
          { containerID: 0, hostID: 0, size: 10 },
          { containerID: 9, hostID: 100, size: 1 },
        ],
      }),
    ],
    [
      'linux.uidMappings[0].hostID 4294967290',
      withLinux({ uidMappings: [{ containerID: 0, hostID: 4294967290, size: 10 }] }),
    ],
  ];
  for (const [message, value] of bad) {
    it(`is refused: ${message}`, () => {
      expect(() => validateSpec(value))
        .to.throw(message)
        .with.property('code', 'InvalidArgument');
    });
  }
});

describe('sysctls', () => {
  const all = { network: true, ipc: true, uts: true };
  const none = { network: false, ipc: false, uts: false };

  it('change nothing of the host', () => {
    for (const key of [
      'net.ipv4.ip_forward',
      'net/core/somaxconn',
      'kernel.shmmax',
      'kernel.msgmax',
      'fs.mqueue.msg_max',
      'kernel.domainname',
    ]) {
      validateSysctls({ [key]: '1' }, all, 'sysctl');
      expect(() => validateSysctls({ [key]: '1' }, none, 'sysctl'), key).to.throw('would change the host');
    }
    for (const key of [
      'kernel.core_pattern',
      'kernel.hostname',
      'vm.swappiness',
      'kernel/core_pattern',
      'fs.file-max',
      'kernel.shmmax.x',
      'fs.mqueuex',
    ])
      expect(() => validateSysctls({ [key]: '1' }, all, 'sysctl'), key).to.throw('is not kept per namespace');
  });

  it('have a key and one line', () => {
    for (const key of [
      '',
      '.',
      'net',
      'net..ipv4',
      'net/../kernel/core_pattern',
      '../x.y',
      'net.ipv4.x+kernel.y',
      'net.ipv4.x=1',
      'net.a b',
      'net.ä',
      'net.\n',
      '__proto__',
    ])
      expect(() => validateSysctls({ [key]: '1' }, all, 'sysctl'), key).to.throw();
    for (const value of ['a\nb', 'a\r', 'a\0', 'x'.repeat(5000)])
      expect(() => validateSysctls({ 'net.ipv4.x': value }, all, 'sysctl')).to.throw('more than one line');
    validateSysctls({ 'net.ipv4.x': 'a+b=c' }, all, 'sysctl');
  });
});

describe('capability names', () => {
  it('are bits', () => {
    expect(capabilityMask(['CAP_CHOWN', 'CAP_CHECKPOINT_RESTORE'])).to.equal(1n | (1n << 40n));
    expect(capabilityMask(['CAP_NONE'])).to.equal(undefined);
    fc.assert(
      fc.property(fc.subarray([...capabilityNames]), (names) => {
        expect(capabilitiesOf(capabilityMask(names) ?? -1n)).to.deep.equal(names);
      }),
    );
  });
});

describe('config.json', () => {
  it('is read with all it has', () => {
    const full: Spec = {
      ociVersion: '1.2.0',
      process: {
        ...process_,
        terminal: true,
        consoleSize: { height: 1, width: 2 },
        rlimits: [{ type: 'RLIMIT_CPU', soft: 1, hard: 2 }],
        capabilities: { bounding: ['CAP_KILL'] },
      },
      root: { path: 'rootfs', readonly: true },
      hostname: 'x',
      mounts: [{ destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid'] }],
      hooks: { poststop: [{ path: '/x', args: ['x'], timeout: 3 }] },
      annotations: { a: 'b' },
      linux: {
        namespaces: [{ type: 'pid' }, { type: 'uts' }, { type: 'network', path: '/run/netns/x' }],
        resources: {
          memory: { limit: 1024 },
          cpu: { shares: 2 },
          pids: { limit: -1 },
          unified: { 'memory.high': '1' },
        },
        devices: [{ path: '/dev/x', type: 'c', major: 1, minor: 2 }],
        seccomp: { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['x'], action: 'SCMP_ACT_KILL' }] },
        maskedPaths: ['/proc/kcore'],
      },
    };
    expect(parseSpec(JSON.stringify(full))).to.deep.equal(full);
  });

  it('may have nulls and fields nobody knows', () => {
    const text =
      '{"ociVersion":"1.0.2-dev","future":1,"mounts":null,"process":{"args":["sh"],"cwd":"/","user":{"uid":1},"env":null}}';
    expect(parseSpec(text)).to.deep.equal({
      ociVersion: '1.0.2-dev',
      process: { args: ['sh'], cwd: '/', user: { uid: 1, gid: 0 } },
    });
  });

  for (const [text, message] of [
    ['{', 'config.json: '],
    ['[]', 'config.json'],
    ['{}', 'config.json: ociVersion'],
    ['{"ociVersion":"2.0.0"}', 'ociVersion "2.0.0" is not 1.x'],
    ['{"ociVersion":"1.2.0","process":{"args":"sh"}}', 'config.json: process.args'],
    ['{"ociVersion":"1.2.0","process":{"args":[1],"cwd":"/"}}', 'config.json: process.args[0]'],
    ['{"ociVersion":"1.2.0","process":{"args":["sh"],"cwd":"/","user":{"uid":"0"}}}', 'process.user.uid'],
    ['{"ociVersion":"1.2.0","process":{"args":["sh"],"cwd":"/","user":{"uid":1.5}}}', 'expected an integer'],
    ['{"ociVersion":"1.2.0","process":{"args":["sh"],"cwd":"x"}}', 'process.cwd "x" is not absolute'],
    ['{"ociVersion":"1.2.0","linux":{"namespaces":[{"type":"net"}]}}', 'linux.namespaces[0].type'],
    ['{"ociVersion":"1.2.0","annotations":{"a":1}}', 'annotations.a'],
  ] as const) {
    it(`is refused: ${message}`, () => {
      expect(() => parseSpec(text))
        .to.throw(message)
        .with.property('code', 'InvalidArgument');
    });
  }

  it('never fails otherwise', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 4 }), fc.string(), (json, text) => {
        for (const input of [
          json,
          text,
          `{"ociVersion":"1.2.0","linux":${json}}`,
          `{"ociVersion":"1.2.0","process":${json}}`,
        ])
          try {
            parseSpec(input);
          } catch (error) {
            expect(error).to.be.instanceOf(RuntimeError).with.property('code', 'InvalidArgument');
          }
      }),
    );
  });
});

describe('the process of an exec', () => {
  it('is checked like that of a spec', () => {
    expect(() => validateProcess({ ...process_, cwd: 'x' })).to.throw('process.cwd');
  });
});
