import { mkdtemp, readFile, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { silentLogger } from '../base/logger.js';
import { buildDefaultProfile } from './default-profile.js';
import { toFilter, toFilterFlags } from './filter.js';
import { type SeccompProfiles, openSeccomp } from './index.js';
import { parseProfile } from './parse-profile.js';

describe('the default seccomp profile', () => {
  const action = (profile: ReturnType<typeof buildDefaultProfile>, name: string) =>
    profile.syscalls?.filter((rule) => rule.names.includes(name)) ?? [];

  it('names each call once and none that escapes', () => {
    const names = buildDefaultProfile([]).syscalls?.[0]?.names ?? [];
    expect(new Set(names).size).to.equal(names.length);
    expect(names.length).to.be.within(360, 420);
    for (const name of ['mount', 'unshare', 'setns', 'bpf', 'kexec_load', 'init_module', 'keyctl', 'add_key'])
      expect(names, name).not.to.include(name);
    for (const name of ['userfaultfd', 'io_uring_setup', 'perf_event_open', 'open_by_handle_at', 'reboot'])
      expect(names, name).not.to.include(name);
  });

  it('lets no unprivileged process make namespaces, and hides clone3', () => {
    const plain = buildDefaultProfile([], 'x64');
    expect(action(plain, 'clone')[0]?.args).to.deep.equal([
      { index: 0, value: 0x7e020000, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' },
    ]);
    expect(action(plain, 'clone3')[0]).to.include({ action: 'SCMP_ACT_ERRNO', errnoRet: 38 });
    const admin = buildDefaultProfile(['CAP_SYS_ADMIN'], 'x64');
    expect(action(admin, 'clone3').map((rule) => rule.action)).to.deep.equal(['SCMP_ACT_ALLOW']);
    expect(action(admin, 'clone')[0]?.args).to.equal(undefined);
    expect(action(buildDefaultProfile([], 's390x'), 'clone')[0]?.args?.[0]?.index).to.equal(1);
  });

  for (const [capability, names] of [
    ['CAP_SYS_CHROOT', ['chroot']],
    ['CAP_BPF', ['bpf']],
    ['CAP_PERFMON', ['perf_event_open']],
    ['CAP_SYSLOG', ['syslog']],
    ['CAP_SYS_PTRACE', ['kcmp', 'pidfd_getfd', 'process_madvise']],
    ['CAP_SYS_TIME', ['settimeofday', 'clock_settime']],
    ['CAP_SYS_MODULE', ['init_module']],
    ['CAP_SYS_NICE', ['mbind', 'set_mempolicy']],
    ['CAP_DAC_READ_SEARCH', ['open_by_handle_at']],
  ] as const) {
    it(`allows ${names.join(', ')} with ${capability} only`, () => {
      for (const name of names) {
        expect(action(buildDefaultProfile([]), name)).to.deep.equal([]);
        expect(action(buildDefaultProfile([capability]), name)).to.have.length(1);
      }
    });
  }
});

describe('a seccomp profile', () => {
  it('becomes numbers', () => {
    const filter = toFilter({
      defaultAction: 'SCMP_ACT_ERRNO',
      defaultErrnoRet: 38,
      architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_AARCH64'],
      syscalls: [
        { names: ['read'], action: 'SCMP_ACT_ALLOW' },
        { names: ['mkdir'], action: 'SCMP_ACT_ERRNO' },
        { names: ['chmod'], action: 'SCMP_ACT_KILL_PROCESS' },
        { names: ['ptrace'], action: 'SCMP_ACT_TRACE', errnoRet: 7 },
        {
          names: ['socket'],
          action: 'SCMP_ACT_LOG',
          args: [{ index: 5, value: 2 ** 64, op: 'SCMP_CMP_GT' }],
        },
      ],
    });
    expect(filter.defaultAction).to.equal(0x00050026);
    expect(filter.architectures).to.deep.equal([0xc000003e, 0xc00000b7]);
    expect(filter.rules.map((rule) => rule.action)).to.deep.equal([
      0x7fff0000, 0x00050001, 0x80000000, 0x7ff00007, 0x7ffc0000,
    ]);
    expect(filter.rules.at(-1)?.args).to.deep.equal([
      { index: 5, value: (1n << 64n) - 1n, valueTwo: 0n, op: 6 },
    ]);
  });

  it('has flags, and SPEC_ALLOW where it names none', () => {
    expect(toFilterFlags({ defaultAction: 'SCMP_ACT_ALLOW' })).to.equal(4);
    expect(toFilterFlags({ defaultAction: 'SCMP_ACT_ALLOW', flags: [] })).to.equal(0);
    const flags = [
      'SECCOMP_FILTER_FLAG_LOG',
      'SECCOMP_FILTER_FLAG_TSYNC',
      'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV',
    ];
    expect(toFilterFlags({ defaultAction: 'SCMP_ACT_ALLOW', flags })).to.equal(2 | 32);
  });

  for (const [what, text, message] of [
    ['no JSON', '{', 'no JSON'],
    ['no object', '[]', 'expected object'],
    ['no default', '{}', 'defaultAction'],
    ['an unknown action', '{"defaultAction":"SCMP_ACT_MAYBE"}', 'defaultAction "SCMP_ACT_MAYBE" is unknown'],
    ['a property of Object', '{"defaultAction":"constructor"}', 'defaultAction "constructor" is unknown'],
    ['a default that asks', '{"defaultAction":"SCMP_ACT_NOTIFY"}', 'would stop the runtime'],
    [
      'an unknown architecture',
      '{"defaultAction":"SCMP_ACT_ALLOW","architectures":["x86"]}',
      'architectures[0] "x86" is unknown',
    ],
    ['unknown flags', '{"defaultAction":"SCMP_ACT_ALLOW","flags":["X"]}', 'flags[0] "X" is unknown'],
    [
      'names of the wrong type',
      '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":[1],"action":"SCMP_ACT_KILL"}]}',
      'syscalls[0].names[0]',
    ],
    [
      'a rule without names',
      '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":[],"action":"SCMP_ACT_KILL"}]}',
      'syscalls[0].names is empty',
    ],
    [
      'an argument out of range',
      '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","action":"SCMP_ACT_KILL","args":[{"index":6,"op":"SCMP_CMP_EQ"}]}]}',
      'syscalls[0].args[0].index 6',
    ],
    [
      'notify without a listener',
      '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","action":"SCMP_ACT_NOTIFY"}]}',
      'needs a listenerPath',
    ],
  ] as const) {
    it(`is refused with ${what}`, () => {
      expect(() => parseProfile(text))
        .to.throw(message)
        .with.property('code', 'InvalidArgument');
    });
  }

  it("in Docker's form settles its conditions", () => {
    const text = JSON.stringify({
      defaultAction: 'SCMP_ACT_ERRNO',
      archMap: [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] }],
      syscalls: [
        { name: 'read', action: 'SCMP_ACT_ALLOW', args: null },
        { names: ['mount'], action: 'SCMP_ACT_ALLOW', includes: { caps: ['CAP_SYS_ADMIN'] } },
        { names: ['clone'], action: 'SCMP_ACT_ALLOW', excludes: { caps: ['CAP_SYS_ADMIN'] } },
        { names: ['s390_runtime_instr'], action: 'SCMP_ACT_ALLOW', includes: { arches: ['s390x'] } },
        { names: ['ptrace'], action: 'SCMP_ACT_ALLOW', includes: { minKernel: '4.8' } },
      ],
    });
    const names = (capabilities: readonly string[]) =>
      parseProfile(text, capabilities).syscalls?.flatMap((rule) => rule.names);
    expect(names([])).to.deep.equal(['read', 'clone', 'ptrace']);
    expect(names(['CAP_SYS_ADMIN'])).to.deep.equal(['read', 'mount', 'ptrace']);
    if (process.arch === 'x64')
      expect(parseProfile(text).architectures).to.deep.equal(['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86']);
  });
});

describe('seccomp programs', () => {
  let directory: string;
  let profiles: SeccompProfiles;

  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'podwright-seccomp-'));
    profiles = await openSeccomp({ cacheDir: directory, logger: silentLogger });
  });

  afterEach(async () => {
    // The compilation of the start writes into the directory.
    await profiles.compile(profiles.defaultProfile(['CAP_SYS_CHROOT']));
    await rm(directory, { recursive: true });
  });

  it('are compiled once for concurrent requests and equal profiles', async () => {
    const profile = profiles.defaultProfile(['CAP_CHOWN']);
    expect(profiles.defaultProfile(['CAP_KILL'])).to.equal(profile);
    const [one, other] = await Promise.all([profiles.compile(profile), profiles.compile({ ...profile })]);
    expect(one).to.equal(other);
    expect(one.flags).to.equal(4);
    expect(one.bpf.length).to.be.within(1_000, 6_000);
  });

  it('are kept on disk, and compiled again when the file is damaged', async () => {
    const profile = profiles.defaultProfile(['CAP_SYS_CHROOT']);
    const { bpf } = await profiles.compile(profile);
    const [name = ''] = await readdir(directory);
    const file = path.join(directory, name);
    const content = await readFile(file);
    expect(content.subarray(32).equals(bpf)).to.equal(true);
    for (const damage of [() => truncate(file, 100), () => writeFile(file, Buffer.alloc(content.length))]) {
      await damage();
      const again = await openSeccomp({ cacheDir: directory, logger: silentLogger });
      expect((await again.compile(profile)).bpf.equals(bpf)).to.equal(true);
      expect((await readFile(file)).equals(content)).to.equal(true);
    }
  });

  it('come without the disk where it cannot be used', async () => {
    await profiles.compile(profiles.defaultProfile(['CAP_SYS_CHROOT']));
    await rm(directory, { recursive: true });
    const { bpf } = await profiles.compile({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [] });
    expect(bpf.length).to.be.greaterThan(0);
    await openSeccomp({ cacheDir: directory, logger: silentLogger });
  });

  it('skip names that nobody knows', async () => {
    const syscalls = [{ names: ['no_such_call', 'mkdir'], action: 'SCMP_ACT_KILL' }];
    const { bpf } = await profiles.compile({ defaultAction: 'SCMP_ACT_ALLOW', syscalls });
    expect(bpf.length).to.be.greaterThan(0);
  });
});
