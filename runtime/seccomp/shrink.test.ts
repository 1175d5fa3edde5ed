import { expect } from 'chai';
import { compileSeccomp } from '../../native/index.js';
import type { Seccomp } from '../spec/types.js';
import { buildDefaultProfile } from './default-profile.js';
import { toFilter } from './filter.js';
import { shrink } from './shrink.js';

/** `struct seccomp_data` as 32-bit words: number, architecture, instruction pointer, six arguments. */
type Call = Uint32Array;

/** What the kernel does with a filter (linux/filter.h), as far as libseccomp uses it. */
function run(bpf: Buffer, call: Call): number {
  let accumulator = 0;
  for (let at = 0; ; at += 8) {
    const [code, k] = [bpf.readUInt16LE(at), bpf.readUInt32LE(at + 4)];
    const branch = (yes: boolean): void => {
      at += 8 * bpf.readUInt8(at + (yes ? 2 : 3));
    };
    if (code === 0x20) accumulator = call[k / 4] ?? 0;
    else if (code === 0x54) accumulator = (accumulator & k) >>> 0;
    else if (code === 0x05) at += 8 * k;
    else if (code === 0x15) branch(accumulator === k);
    else if (code === 0x25) branch(accumulator > k);
    else if (code === 0x35) branch(accumulator >= k);
    else if (code === 0x45) branch((accumulator & k) !== 0);
    else if (code === 0x06) return k;
    else throw new Error(`instruction ${code.toString(16)}`);
  }
}

/** Repeatable noise: mulberry32. */
function noise(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const architectures = [0xc000003e, 0x40000003, 0x4000003e, 0xc00000b7, 0, 0xffffffff, 0xc000003d, 0xc000003f];
const constantsOf = (bpf: Buffer): readonly number[] =>
  Array.from({ length: bpf.length / 8 }, (_, index) => bpf.readUInt32LE(index * 8 + 4));

function* calls(bpf: Buffer, random: (below: number) => number): Generator<Call> {
  const constants = [...new Set(constantsOf(bpf))];
  const numbers = new Set([0, 0xffffffff, ...constants.flatMap((k) => [k - 1, k, k + 1])]);
  const argument = (): number => {
    const pick = constants[random(constants.length)] ?? 0;
    return [0, 1, 0xffffffff, pick, pick + 1, random(2 ** 32)][random(6)] ?? 0;
  };
  for (const architecture of architectures)
    for (const number of numbers)
      for (let round = 0; round < 3; round++)
        yield Uint32Array.from([number, architecture, 0, 0, ...Array.from({ length: 12 }, argument)]);
}

async function expectSame(profile: Seccomp, seed: number): Promise<{ before: number; after: number }> {
  const { bpf } = await compileSeccomp(toFilter(profile));
  const small = shrink(bpf);
  for (const call of calls(bpf, noise(seed))) {
    const [expected, answer] = [run(bpf, call), run(small, call)];
    if (answer !== expected) expect(answer, `call ${[...call].join(' ')} of seed ${seed}`).to.equal(expected);
  }
  return { before: bpf.length, after: small.length };
}

const names = [
  'read',
  'write',
  'open',
  'close',
  'clone',
  'socket',
  'ioctl',
  'mount',
  'statx',
  'futex',
  'brk',
  'kill',
];
const actions = [
  'SCMP_ACT_ALLOW',
  'SCMP_ACT_ERRNO',
  'SCMP_ACT_KILL_PROCESS',
  'SCMP_ACT_LOG',
  'SCMP_ACT_TRAP',
];
const comparisons = ['SCMP_CMP_EQ', 'SCMP_CMP_NE', 'SCMP_CMP_GT', 'SCMP_CMP_LE', 'SCMP_CMP_MASKED_EQ'];

function randomProfile(random: (below: number) => number): Seccomp {
  const one = <Value>(values: readonly Value[], otherwise: Value): Value =>
    values[random(values.length)] ?? otherwise;
  const value = (): number => one([0, 1, 255, 2 ** 31, 2 ** 32, 2 ** 40 + 7], 0);
  return {
    defaultAction: one(actions, 'SCMP_ACT_ERRNO'),
    architectures: [['SCMP_ARCH_X86_64'], ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'], []][
      random(3)
    ],
    syscalls: Array.from({ length: random(8) }, () => ({
      names: names.filter(() => random(3) === 0).concat(one(names, 'read')),
      action: one(actions, 'SCMP_ACT_ALLOW'),
      args: Array.from({ length: random(3) }, (_, index) => ({
        index: index * 2,
        value: value(),
        valueTwo: value(),
        op: one(comparisons, 'SCMP_CMP_EQ'),
      })),
    })),
  };
}

describe('a shrunk seccomp filter', () => {
  const sets = [
    [],
    ['CAP_SYS_ADMIN'],
    ['CAP_SYS_CHROOT', 'CAP_BPF', 'CAP_SYS_TIME'],
    ['CAP_SYSLOG', 'CAP_SYS_NICE'],
  ];
  for (const capabilities of sets) {
    it(`answers as the default profile with ${capabilities.join(', ') || 'no capability'}, in a third of the space`, async () => {
      const { before, after } = await expectSame(buildDefaultProfile(capabilities), 1);
      expect(after * 3).to.be.below(before);
    });
  }

  it('answers as any other profile', async function () {
    this.timeout(30_000);
    for (let seed = 0; seed < 150; seed++) await expectSame(randomProfile(noise(seed)), seed);
  });

  it('reaches answers that are far away', async () => {
    const everyOther =
      buildDefaultProfile([]).syscalls?.[0]?.names.filter((_, index) => index % 2 === 0) ?? [];
    const profile: Seccomp = {
      defaultAction: 'SCMP_ACT_ALLOW',
      architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
      syscalls: everyOther.map((name, index) => ({
        names: [name],
        action: 'SCMP_ACT_ERRNO',
        errnoRet: index + 1,
        args: index % 3 === 0 ? [{ index: 1, value: index, op: 'SCMP_CMP_EQ' }] : [],
      })),
    };
    await expectSame(profile, 7);
  });

  it('leaves alone what does more than compare', () => {
    const words = [0x20, 0, 0x54, 0xff, 0x15, 3, 0x06, 0x7fff0000];
    const bpf = Buffer.alloc(32);
    words.forEach((word, index) => bpf.writeUInt32LE(word, index * 4));
    expect(shrink(bpf)).to.equal(bpf);
  });
});
