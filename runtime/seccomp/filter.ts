import type { SeccompFilter, SeccompRule } from '../../native/index.js';
import { RuntimeError } from '../errors.js';
import type { Seccomp, SeccompArg, SeccompSyscall } from '../spec/types.js';

const actions: Readonly<Record<string, number>> = {
  SCMP_ACT_KILL: 0x00000000,
  SCMP_ACT_KILL_THREAD: 0x00000000,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_NOTIFY: 0x7fc00000,
  SCMP_ACT_TRACE: 0x7ff00000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: 0x7fff0000,
};

const EPERM = 1;

/** AUDIT_ARCH_* values, which are libseccomp's tokens. */
const architectures: Readonly<Record<string, number>> = {
  SCMP_ARCH_X86: 0x40000003,
  SCMP_ARCH_X86_64: 0xc000003e,
  SCMP_ARCH_X32: 0x4000003e,
  SCMP_ARCH_ARM: 0x40000028,
  SCMP_ARCH_AARCH64: 0xc00000b7,
  SCMP_ARCH_LOONGARCH64: 0xc0000102,
  SCMP_ARCH_MIPS: 0x00000008,
  SCMP_ARCH_MIPS64: 0x80000008,
  SCMP_ARCH_MIPS64N32: 0xa0000008,
  SCMP_ARCH_MIPSEL: 0x40000008,
  SCMP_ARCH_MIPSEL64: 0xc0000008,
  SCMP_ARCH_MIPSEL64N32: 0xe0000008,
  SCMP_ARCH_PARISC: 0x0000000f,
  SCMP_ARCH_PARISC64: 0x8000000f,
  SCMP_ARCH_PPC: 0x00000014,
  SCMP_ARCH_PPC64: 0x80000015,
  SCMP_ARCH_PPC64LE: 0xc0000015,
  SCMP_ARCH_RISCV64: 0xc00000f3,
  SCMP_ARCH_S390: 0x00000016,
  SCMP_ARCH_S390X: 0x80000016,
};

const comparisons: Readonly<Record<string, number>> = {
  SCMP_CMP_NE: 1,
  SCMP_CMP_LT: 2,
  SCMP_CMP_LE: 3,
  SCMP_CMP_EQ: 4,
  SCMP_CMP_GE: 5,
  SCMP_CMP_GT: 6,
  SCMP_CMP_MASKED_EQ: 7,
};

/** SECCOMP_FILTER_FLAG_*. TSYNC changes nothing for a process with one thread. */
const filterFlags: Readonly<Record<string, number>> = {
  SECCOMP_FILTER_FLAG_TSYNC: 0,
  SECCOMP_FILTER_FLAG_LOG: 1 << 1,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: 1 << 2,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: 1 << 5,
};

/** What libseccomp is asked for. @throws InvalidArgument naming the field of `linux.seccomp` */
export function toFilter(profile: Seccomp): SeccompFilter {
  const { defaultAction, defaultErrnoRet, syscalls = [] } = profile;
  if (defaultAction === 'SCMP_ACT_NOTIFY')
    refuse('defaultAction', 'SCMP_ACT_NOTIFY would stop the runtime itself');
  return {
    defaultAction: actionOf(defaultAction, defaultErrnoRet, 'defaultAction'),
    architectures: (profile.architectures ?? []).map((name, index) =>
      lookUp(architectures, name, `architectures[${index}]`),
    ),
    rules: syscalls.map((syscall, index) => toRule(syscall, `syscalls[${index}]`, profile)),
  };
}

/** SECCOMP_FILTER_FLAG_* of a profile; one that says nothing gets SPEC_ALLOW, as runc's do. @throws InvalidArgument */
export function toFilterFlags({ flags }: Seccomp): number {
  const names = flags ?? ['SECCOMP_FILTER_FLAG_SPEC_ALLOW'];
  return names.reduce((mask, name, index) => mask | lookUp(filterFlags, name, `flags[${index}]`), 0);
}

function toRule(syscall: SeccompSyscall, field: string, profile: Seccomp): SeccompRule {
  const { names, action, errnoRet, args = [] } = syscall;
  if (names.length === 0) refuse(`${field}.names`, 'is empty');
  names.forEach((name, index) => {
    if (!/^[A-Za-z0-9_]+$/.test(name))
      refuse(`${field}.names[${index}]`, `${JSON.stringify(name)} is no system call`);
  });
  if (action === 'SCMP_ACT_NOTIFY') {
    if ((profile.listenerPath ?? '') === '')
      refuse(`${field}.action`, 'SCMP_ACT_NOTIFY needs a listenerPath');
    // The listener's descriptor is sent by a write-like call of the very process.
    if (names.includes('write'))
      refuse(`${field}.names`, 'SCMP_ACT_NOTIFY of write would stop the runtime itself');
  }
  return {
    names,
    action: actionOf(action, errnoRet, `${field}.action`),
    args: args.map((arg, index) => toArg(arg, `${field}.args[${index}]`)),
  };
}

function toArg({ index, value, valueTwo = 0, op }: SeccompArg, field: string): SeccompRule['args'][number] {
  if (!Number.isInteger(index) || index < 0 || index > 5)
    refuse(`${field}.index`, `${index} is not within 0 and 5`);
  return {
    index,
    value: toU64(value, `${field}.value`),
    valueTwo: toU64(valueTwo, `${field}.valueTwo`),
    op: lookUp(comparisons, op, `${field}.op`),
  };
}

/** JSON numbers beyond 2^53 have lost their last bits; only 2^64-1 (read as 2^64) is meant so often that it is known. */
function toU64(value: number, field: string): bigint {
  if (value === 2 ** 64) return (1n << 64n) - 1n;
  if (!Number.isSafeInteger(value) || value < 0) refuse(field, `${value} is not an exact number`);
  return BigInt(value);
}

function actionOf(name: string, errnoRet: number | undefined, field: string): number {
  const action = lookUp(actions, name, field);
  const carriesErrno = name === 'SCMP_ACT_ERRNO' || name === 'SCMP_ACT_TRACE';
  if (!carriesErrno) {
    if (errnoRet !== undefined && errnoRet !== 0) refuse(field, `${name} has no errno to return`);
    return action;
  }
  const errno = errnoRet ?? EPERM;
  if (!Number.isInteger(errno) || errno < 0 || errno > 0xffff)
    refuse(field, `errno ${errno} is not within 0 and 65535`);
  return (action | errno) >>> 0;
}

function lookUp(table: Readonly<Record<string, number>>, name: string, field: string): number {
  const value = Object.hasOwn(table, name) ? table[name] : undefined;
  if (value === undefined) refuse(field, `${JSON.stringify(name)} is unknown`);
  return value;
}

function refuse(field: string, why: string): never {
  throw new RuntimeError('InvalidArgument', `seccomp profile: ${field} ${why}`);
}
