import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { closeFd, compileSeccomp, pipe, sealedMemfd, seccompVersion, spawn, waitPidfd } from './index.js';
import type { SeccompFilter, SeccompRule } from './index.js';

const ALLOW = 0x7fff0000;
const KILL_PROCESS = 0x80000000;
const EPERM = 0x00050001;
const ENOSYS = 0x00050026;
const EACCES = 0x0005000d;

const SCMP_ARCH_X86 = 0x40000003;
const SCMP_ARCH_X32 = 0x4000003e;
const AUDIT_ARCH_I386 = 0x40000003;
const AUDIT_ARCH_X86_64 = 0xc000003e;
const X32_BIT = 0x40000000;
const SCMP_CMP_EQ = 4;
const SCMP_CMP_MASKED_EQ = 7;

interface Call {
  readonly arch?: number;
  readonly nr: number;
  readonly args?: readonly bigint[];
}

/** Runs a seccomp program as the kernel would: classic BPF over struct seccomp_data. */
function verdict(bpf: Buffer, { arch = AUDIT_ARCH_X86_64, nr, args = [] }: Call): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(nr, 0);
  data.writeUInt32LE(arch, 4);
  args.forEach((value, i) => data.writeBigUInt64LE(value, 16 + 8 * i));
  let accumulator = 0;
  for (let at = 0; at < bpf.length / 8; at++) {
    const code = bpf.readUInt16LE(at * 8);
    const [ifTrue, ifFalse] = [bpf.readUInt8(at * 8 + 2), bpf.readUInt8(at * 8 + 3)];
    const k = bpf.readUInt32LE(at * 8 + 4);
    if (code === 0x20) accumulator = data.readUInt32LE(k);
    else if (code === 0x54) accumulator = (accumulator & k) >>> 0;
    else if (code === 0x05) at += k;
    else if (code === 0x15) at += accumulator === k ? ifTrue : ifFalse;
    else if (code === 0x25) at += accumulator > k ? ifTrue : ifFalse;
    else if (code === 0x35) at += accumulator >= k ? ifTrue : ifFalse;
    else if (code === 0x06) return k;
    else throw new Error(`instruction 0x${code.toString(16)}`);
  }
  throw new Error('no verdict');
}

function allow(...names: string[]): SeccompRule {
  return { names, action: ALLOW, args: [] };
}

async function compiled(rules: readonly SeccompRule[], more: Partial<SeccompFilter> = {}): Promise<Buffer> {
  const filter = { defaultAction: EPERM, architectures: [SCMP_ARCH_X86, SCMP_ARCH_X32], rules, ...more };
  return (await compileSeccomp(filter)).bpf;
}

describe('compileSeccomp', () => {
  before(function () {
    if (process.arch !== 'x64') this.skip(); // the numbers below are those of x86-64
  });

  it('decides by name on every architecture', async () => {
    const bpf = await compiled([allow('read', 'getpid')]);
    expect(verdict(bpf, { nr: 0 })).to.equal(ALLOW);
    expect(verdict(bpf, { nr: 39 })).to.equal(ALLOW);
    expect(verdict(bpf, { nr: 1 })).to.equal(EPERM);
    expect(verdict(bpf, { arch: AUDIT_ARCH_I386, nr: 3 })).to.equal(ALLOW);
    expect(verdict(bpf, { arch: AUDIT_ARCH_I386, nr: 0 })).to.equal(EPERM);
    expect(verdict(bpf, { nr: X32_BIT + 39 })).to.equal(ALLOW);
    expect(verdict(bpf, { arch: 0xc00000b7, nr: 63 })).to.equal(0);
  });

  it('leaves other architectures out unless asked', async () => {
    const bpf = await compiled([allow('read')], { architectures: [] });
    expect(verdict(bpf, { arch: AUDIT_ARCH_I386, nr: 3 })).to.equal(0);
    expect(verdict(bpf, { nr: X32_BIT })).to.equal(0);
    expect(verdict(bpf, { nr: X32_BIT + 510 })).to.equal(0);
    // The number that a tracer skips a call with is of no architecture.
    expect(verdict(bpf, { nr: 0xffffffff })).to.equal(EPERM);
  });

  it('answers ENOSYS, not the forbidding default, to calls it is too old to know', async () => {
    const bpf = await compiled([allow('read')]);
    for (const nr of [500, 511, 700, 10_000]) {
      expect(verdict(bpf, { nr }), `x86-64 ${nr}`).to.equal(ENOSYS);
      expect(verdict(bpf, { arch: AUDIT_ARCH_I386, nr }), `i386 ${nr}`).to.equal(ENOSYS);
    }
    expect(verdict(bpf, { nr: X32_BIT + 500 })).to.equal(ENOSYS);
    expect(verdict(bpf, { nr: X32_BIT + 520 })).to.equal(EPERM);
    expect(verdict(bpf, { nr: 435 })).to.equal(EPERM);
    const killing = await compiled([allow('read')], { defaultAction: KILL_PROCESS });
    expect(verdict(killing, { nr: 500 })).to.equal(ENOSYS);
    expect(verdict(killing, { nr: 435 })).to.equal(KILL_PROCESS);
    const permissive = await compiled([{ names: ['mount'], action: EPERM, args: [] }], {
      defaultAction: ALLOW,
    });
    expect(verdict(permissive, { nr: 500 })).to.equal(ALLOW);
    expect(verdict(permissive, { nr: 165 })).to.equal(EPERM);
  });

  it('knows the calls that libseccomp does not', async () => {
    const recent = { fchmodat2: 452, statmount: 457, mseal: 462, file_setattr: 469 };
    const { bpf, unknown } = await compileSeccomp({
      defaultAction: EPERM,
      architectures: [SCMP_ARCH_X86, SCMP_ARCH_X32],
      rules: [
        allow(...Object.keys(recent), 'no_such_call'),
        { names: ['setxattrat'], action: EACCES, args: [] },
      ],
    });
    for (const nr of Object.values(recent)) {
      expect(verdict(bpf, { nr }), `x86-64 ${nr}`).to.equal(ALLOW);
      expect(verdict(bpf, { arch: AUDIT_ARCH_I386, nr }), `i386 ${nr}`).to.equal(ALLOW);
      expect(verdict(bpf, { nr: X32_BIT + nr }), `x32 ${nr}`).to.equal(ALLOW);
    }
    expect(verdict(bpf, { nr: 463 })).to.equal(EACCES);
    expect(verdict(bpf, { nr: 464 })).to.equal(ENOSYS);
    expect(unknown).to.deep.equal(['no_such_call']);
    const denied = await compiled([{ names: ['mseal'], action: EACCES, args: [] }], { defaultAction: ALLOW });
    expect(verdict(denied, { nr: 462 })).to.equal(EACCES);
    expect(verdict(denied, { nr: 463 })).to.equal(ALLOW);
  });

  it('holds conditions on different arguments together, and those on one apart', async () => {
    const equal = (index: number, value: bigint): SeccompRule['args'][number] => ({
      index,
      value,
      valueTwo: 0n,
      op: SCMP_CMP_EQ,
    });
    const bpf = await compiled([
      { names: ['socket'], action: ALLOW, args: [equal(0, 1n), equal(1, 2n)] },
      { names: ['personality'], action: ALLOW, args: [equal(0, 0n), equal(0, 0xffffffffn)] },
      {
        names: ['clone'],
        action: ALLOW,
        args: [{ index: 0, value: 0x7e020000n, valueTwo: 0n, op: SCMP_CMP_MASKED_EQ }],
      },
    ]);
    expect(verdict(bpf, { nr: 41, args: [1n, 2n] })).to.equal(ALLOW);
    expect(verdict(bpf, { nr: 41, args: [1n, 3n] })).to.equal(EPERM);
    expect(verdict(bpf, { nr: 41, args: [2n, 2n] })).to.equal(EPERM);
    expect(verdict(bpf, { nr: 135, args: [0n] })).to.equal(ALLOW);
    expect(verdict(bpf, { nr: 135, args: [0xffffffffn] })).to.equal(ALLOW);
    expect(verdict(bpf, { nr: 135, args: [8n] })).to.equal(EPERM);
    expect(verdict(bpf, { nr: 56, args: [0x11n] })).to.equal(ALLOW);
    expect(verdict(bpf, { nr: 56, args: [0x10000000n] })).to.equal(EPERM);
  });

  it('refuses what is no rule', async () => {
    const failure = async (filter: Partial<SeccompFilter>): Promise<unknown> => {
      try {
        return await compileSeccomp({ defaultAction: EPERM, architectures: [], rules: [], ...filter });
      } catch (error) {
        return error;
      }
    };
    expect(await failure({ defaultAction: 0x12345678 })).to.include({
      syscall: 'seccomp_init',
      code: 'EINVAL',
    });
    expect(await failure({ architectures: [5] })).to.include({ syscall: 'seccomp_arch_add', path: '5' });
    const wild = { names: ['read'], action: 0x12345678, args: [] };
    expect(await failure({ rules: [wild] })).to.include({ syscall: 'seccomp_rule_add', path: 'read' });
    const far = { names: ['read'], action: ALLOW, args: [{ index: 6, value: 0n, valueTwo: 0n, op: 4 }] };
    expect(await failure({ rules: [far] })).to.include({ syscall: 'seccomp_rule_add', code: 'EINVAL' });
  });

  it('makes programs that the kernel takes and obeys', async function () {
    this.timeout(20_000);
    const names = [
      'read',
      'write',
      'close',
      'exit',
      'exit_group',
      'brk',
      'mmap',
      'munmap',
      'mremap',
      'madvise',
    ];
    const bpf = await compiled([
      allow(...names, 'futex', 'rt_sigaction', 'rt_sigprocmask', 'getpid', 'fchmodat2'),
    ]);
    const script = `
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
program = os.read(3, 65536)
buffer = ctypes.create_string_buffer(program, len(program))
class Program(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
filter = Program(len(program) // 8, ctypes.addressof(buffer))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(filter), 0, 0) == 0
def call(number):
    ctypes.set_errno(0)
    libc.syscall(number, -1, 0, 0, 0)
    return ctypes.get_errno()
os.write(1, ' '.join(str(call(n)) for n in [39, 110, 165, 452, 470, 999]).encode())
os._exit(0)`;
    const program = sealedMemfd('bpf', bpf, false);
    const [readEnd, writeEnd] = pipe();
    const python = { file: '/usr/bin/python3', argv: ['python3', '-c', script] };
    const { pidfd } = spawn({ ...python, fds: [null, writeEnd, 2, program] });
    closeFd(writeEnd);
    const status = await waitPidfd(pidfd);
    const text = readFileSync(readEnd, 'utf8');
    [program, readEnd].forEach((fd) => closeFd(fd));
    expect([status?.code, text]).to.deep.equal([0, '0 1 1 14 38 38']);
  });

  it('takes milliseconds for a profile of the usual size', async () => {
    const names = readFileSync('/usr/include/x86_64-linux-gnu/asm/unistd_64.h', 'latin1').matchAll(
      /__NR_(\w+)/g,
    );
    const start = performance.now();
    const bpf = await compiled([allow(...[...names].map(([, name = '']) => name))]);
    expect(performance.now() - start).to.be.lessThan(1000);
    expect(bpf.length / 8).to.be.lessThan(4096);
  });

  it('tells its version', () => {
    expect(seccompVersion()).to.match(/^2\.\d+\.\d+$/);
  });
});
