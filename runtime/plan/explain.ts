import { arch } from 'node:os';
import { errnoName } from '../base/errno.js';
import { type ErrorCode, RuntimeError, type StepFailure, SystemError } from '../errors.js';
import { MOUNT_ATTR_RDONLY } from './kernel.js';
import { kindOfCode } from './layout.js';
import type { Plan, PlanStep, StepKind } from './steps.js';

/**
 * The failure in the user's terms: *mount /data (bind from /srv/data): no such file or directory*. The system call that
 * failed is its cause's. Without the plan (after a restart) the step's kind must do.
 */
export function explainFailure(plan: Plan | undefined, failure: StepFailure): RuntimeError {
  const step = stepOf(plan, failure);
  const kind = step?.kind ?? (failure.kind === undefined ? undefined : kindOfCode(failure.kind));
  const name = errnoName(failure.errno);
  const hint = hintFor(kind, step, failure, name);
  const op = step?.about ?? aboutWithoutPlan(kind, failure);
  const text =
    hint ?? [errnoText(name, failure.errno), whereText(op, failure)].filter((part) => part !== '').join(' ');
  return new RuntimeError(codeFor(kind, name), op, {
    cause: new StepFailed(text, failure, name),
    reason: reasonFor(step, name),
    evidence: { step: placeOf(kind, failure) },
  });
}

/** Where the plan failed, in the words of the printed plan. */
function placeOf(kind: StepKind | undefined, { list, index }: StepFailure): string {
  if (list === undefined || index === undefined) return kind ?? 'outside of the plan';
  return [list === 0 ? 'launcher' : 'child', index, kind ?? 'unknown'].join(' ');
}

/** The CRI has a word of its own for mounts below a volume that cannot be made read-only. */
function reasonFor(step: PlanStep | undefined, name: string): string | undefined {
  const recursive = step?.kind === 'mount-setattr' && step.recursive && (step.set & MOUNT_ATTR_RDONLY) !== 0;
  return recursive && (name === 'ENOSYS' || name === 'EINVAL') ? 'RROUnsupported' : undefined;
}

/** Carries what the kernel said beside the sentence for people. */
class StepFailed extends Error {
  override readonly name = 'StepFailed';

  constructor(text: string, { syscall, errno, detail }: StepFailure, code: string) {
    const path = detail === '' ? undefined : detail;
    super(text, { cause: new SystemError({ syscall, errno, code, path }) });
  }
}

function stepOf(plan: Plan | undefined, { list, index, kind }: StepFailure): PlanStep | undefined {
  if (plan === undefined || list === undefined || index === undefined) return undefined;
  const step = (list === 0 ? plan.parent : plan.child)[index];
  // A report about another plan than ours must not be dressed in our words.
  return step !== undefined && kind !== undefined && kindOfCode(kind) === step.kind ? step : undefined;
}

function aboutWithoutPlan(kind: StepKind | undefined, { detail }: StepFailure): string {
  const what = kind ?? 'start the process';
  return detail === '' ? what : `${what} ${detail}`;
}

/** The object of the failed call, where the sentence does not name it yet. */
function whereText(op: string, { syscall, detail }: StepFailure): string {
  if (detail === '' || op.includes(detail)) return syscall === '' ? '' : `(${syscall})`;
  return `(${syscall} ${detail})`;
}

function hintFor(
  kind: StepKind | undefined,
  step: PlanStep | undefined,
  failure: StepFailure,
  name: string,
): string | undefined {
  if (kind === 'exec') return execHint(step, failure, name);
  if (kind === 'chdir' || (kind === 'mkdir' && step?.about?.startsWith('make working directory') === true))
    return chdirHint(name);
  if (kind === 'open-tree' || kind === 'open-tree-in')
    return name === 'ENOENT' ? 'no such file or directory' : undefined;
  if (kind === 'open-pid' && name === 'ESRCH') return 'it has ended';
  if (kind === 'seccomp' && name === 'EINVAL')
    return 'the kernel refused the filter (is CONFIG_SECCOMP_FILTER set?)';
  if (kind === 'capabilities' && name === 'EPERM') return 'the runtime itself lacks one of them';
  if (kind === 'overlay' && name === 'ENODEV') return 'the kernel has no overlay file system';
  if (kind === 'console' && name === 'ENOENT') return 'the container has no devpts on /dev/pts';
  if (kind === 'open' && name === 'ELOOP') return 'the image has a symbolic link there';
  if (name === 'EXDEV' || name === 'ELOOP') return 'a symbolic link of the image leads out of its rootfs';
  return userNamespaceHint(step, name);
}

function userNamespaceHint(step: PlanStep | undefined, name: string): string | undefined {
  const idmapped = step !== undefined && 'userNamespace' in step && step.userNamespace !== undefined;
  if (idmapped && name === 'EINVAL') return 'the file system cannot be mounted with other ids';
  if (idmapped && name === 'EPERM') return 'it is mounted with other ids already';
  const makes = step?.kind === 'user-namespace' || step?.kind === 'clone';
  return makes && name === 'ENOSPC' ? 'a limit of user.max_*_namespaces is reached' : undefined;
}

function execHint(step: PlanStep | undefined, { detail }: StepFailure, name: string): string | undefined {
  const command = step?.kind === 'exec' ? (step.argv[0] ?? '') : detail;
  if (name === 'ENOENT') {
    return command.includes('/')
      ? 'no such file or directory (the file, or the interpreter it names, is missing)'
      : 'executable file not found in $PATH';
  }
  if (name === 'EACCES') return 'permission denied: not executable';
  if (name === 'ENOEXEC')
    return `exec format error: no program for this machine (${arch()}), nor a script with #!`;
  if (name === 'E2BIG') return 'argument list too long';
  return name === 'ENOTDIR' ? 'a component of the path is not a directory' : undefined;
}

function chdirHint(name: string): string | undefined {
  if (name === 'ENOTDIR' || name === 'EEXIST') return 'is not a directory';
  if (name === 'ENOENT') return 'no such directory';
  return name === 'EXDEV' || name === 'ELOOP' ? 'is outside of the container' : undefined;
}

const exhausted: ReadonlySet<string> = new Set(['ENOMEM', 'ENOSPC', 'EMFILE', 'ENFILE', 'EAGAIN', 'EDQUOT']);

/** Steps whose input the user wrote, and the errors that this input explains. */
const userKinds: ReadonlySet<StepKind> = new Set(['exec', 'chdir', 'user', 'sysctl', 'hostname', 'rlimit']);
const mountKinds: ReadonlySet<StepKind> = new Set(['open-tree', 'move-mount', 'fs-mount', 'mount-setattr']);
const inputErrors: ReadonlySet<string> = new Set([
  'ENOENT',
  'ENOTDIR',
  'EISDIR',
  'EACCES',
  'EPERM',
  'EINVAL',
  'ENOEXEC',
  'E2BIG',
  'ELOOP',
  'EXDEV',
  'ENAMETOOLONG',
  'ENODEV',
  'EEXIST',
  'ERANGE',
]);

/**
 * Never NotFound or AlreadyExists, whatever errno says: callers take those for the container's. A condition outside of the
 * request (a missing source directory) is FailedPrecondition, a mistake in it InvalidArgument.
 */
function codeFor(kind: StepKind | undefined, name: string): ErrorCode {
  if (exhausted.has(name)) return 'ResourceExhausted';
  if (name === 'ENOSYS') return 'Unimplemented';
  if (kind === undefined || !inputErrors.has(name))
    return kind === 'open-pid' ? 'FailedPrecondition' : 'Internal';
  if (userKinds.has(kind)) return 'InvalidArgument';
  return mountKinds.has(kind) ? 'FailedPrecondition' : 'Internal';
}

const errnoTexts: Readonly<Record<string, string>> = {
  EPERM: 'operation not permitted',
  ENOENT: 'no such file or directory',
  ESRCH: 'no such process',
  EINTR: 'interrupted',
  EIO: 'input/output error',
  ENXIO: 'no such device or address',
  E2BIG: 'argument list too long',
  ENOEXEC: 'exec format error',
  EBADF: 'bad file descriptor',
  EAGAIN: 'a limit of the kernel was reached, or try again',
  ENOMEM: 'out of memory',
  EACCES: 'permission denied',
  EFAULT: 'bad address',
  ENOTBLK: 'block device required',
  EBUSY: 'device or resource busy',
  EEXIST: 'file exists',
  EXDEV: 'leads across the boundary of its root',
  ENODEV: 'no such device or file system',
  ENOTDIR: 'not a directory',
  EISDIR: 'is a directory',
  EINVAL: 'invalid argument',
  ENFILE: 'too many open files in the system',
  EMFILE: 'too many open files',
  ENOTTY: 'not a terminal',
  ETXTBSY: 'text file busy',
  EFBIG: 'file too large',
  ENOSPC: 'no space left (on the device, or in a limit of the kernel)',
  EROFS: 'read-only file system',
  EMLINK: 'too many links',
  EPIPE: 'broken pipe',
  ERANGE: 'out of range',
  EDEADLK: 'deadlock',
  ENAMETOOLONG: 'name too long',
  ENOSYS: 'not supported by this kernel',
  ENOTEMPTY: 'directory not empty',
  ELOOP: 'too many symbolic links',
  EOPNOTSUPP: 'operation not supported',
  EADDRINUSE: 'address in use',
  EADDRNOTAVAIL: 'address not available',
  ENETDOWN: 'network is down',
  ENETUNREACH: 'network unreachable',
  ENOBUFS: 'no buffer space',
  ETIMEDOUT: 'timed out',
  ESTALE: 'stale file handle',
  EUSERS: 'too many user namespaces',
  ENOKEY: 'no such key',
  EDQUOT: 'quota exceeded',
  EPROTO: 'the helper did not follow its protocol',
};

function errnoText(name: string, errno: number): string {
  return errnoTexts[name] ?? `error ${errno} (${name})`;
}
