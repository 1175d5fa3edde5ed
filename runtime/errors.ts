import { SystemError } from '../native/system-error.js';

export { SystemError };

/** Every way an operation of the runtime can fail. `cri/status.ts` maps each to a gRPC status. */
export const errorCodes = [
  'InvalidArgument',
  'NotFound',
  'AlreadyExists',
  'FailedPrecondition',
  'PermissionDenied',
  'Unauthenticated',
  'ResourceExhausted',
  'Unavailable',
  'DeadlineExceeded',
  'Cancelled',
  'Unimplemented',
  'Aborted',
  'DataLoss',
  'Internal',
] as const;

export type ErrorCode = (typeof errorCodes)[number];

/**
 * The one error class of the runtime.
 *
 * `op` says what was tried, `subject` on what (an id, a path, an image), `cause` why it failed. The
 * message prints the chain once, outermost first: `create container 1a2b: mount /data: ENOENT`.
 */
export class RuntimeError extends Error {
  override readonly name = 'RuntimeError';
  readonly code: ErrorCode;
  readonly op: string;
  readonly subject: string | undefined;
  /** A stable word for the CRI `reason` field, where one exists ("ImagePullBackOff" is the kubelet's, not ours). */
  readonly reason: string | undefined;
  readonly evidence: ErrorEvidence;

  constructor(code: ErrorCode, op: string, options: ErrorContext = {}) {
    super(formatMessage(op, options), options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.op = op;
    this.subject = options.subject;
    this.reason = options.reason;
    this.evidence = options.evidence ?? {};
  }
}

export interface ErrorContext {
  readonly subject?: string | undefined;
  readonly cause?: unknown;
  readonly reason?: string | undefined;
  readonly evidence?: ErrorEvidence | undefined;
}

/** What an error knows besides its sentence, for those who look into it. */
export interface ErrorEvidence {
  /** How long each stage took that was passed before. */
  readonly stagesMs?: Readonly<Record<string, number>>;
  /** The step of the launch plan that failed, as the printed plan shows it. */
  readonly step?: string;
  /** What a program of others (a CNI plugin) printed. */
  readonly output?: string;
  readonly systemCall?: { readonly syscall: string; readonly errno: string; readonly path?: string };
}

function formatMessage(op: string, { subject, cause }: ErrorContext): string {
  const head = subject === undefined ? op : `${op} ${subject}`;
  return cause === undefined ? head : `${head}: ${messageBelow(head, cause)}`;
}

/** What an errno does not say to everybody. */
const systemHints: Readonly<Record<string, string>> = {
  ENOSPC: ' (no space, or no inode, left on the device)',
  EDQUOT: ' (the quota is used up)',
};

/** Node's own errors end in the call and its path, which the words before have named already. */
function messageBelow(head: string, cause: unknown): string {
  const text = messageOf(cause);
  if (cause instanceof SystemError) return `${text}${systemHints[cause.code] ?? ''}`;
  if (!(cause instanceof Error) || !('path' in cause) || !('syscall' in cause)) return text;
  const end = `, ${String(cause.syscall)} '${String(cause.path)}'`;
  return head.includes(String(cause.path)) && text.endsWith(end) ? text.slice(0, -end.length) : text;
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Adds an operation to an error on its way up; the code is kept, a foreign error gets the one its errno suggests. */
export function wrapError(
  op: string,
  error: unknown,
  subject?: string,
  evidence?: ErrorEvidence,
): RuntimeError {
  return new RuntimeError(codeOf(error), op, {
    subject,
    cause: error,
    reason: error instanceof RuntimeError ? error.reason : undefined,
    evidence,
  });
}

/**
 * As {@link wrapError}, of something that a request needs and that is not itself what the request is about: a file that
 * is not there must not be taken for a container that is not there.
 */
export function wrapCondition(op: string, error: unknown, subject?: string): RuntimeError {
  const { code, reason } = wrapError(op, error);
  const isAbout = code === 'NotFound' || code === 'AlreadyExists';
  return new RuntimeError(isAbout ? 'FailedPrecondition' : code, op, { subject, cause: error, reason });
}

/** The evidence of an error and of everything that caused it; of each kind the outermost counts. */
export function evidenceOf(error: unknown): ErrorEvidence {
  if (!(error instanceof Error)) return {};
  const below = evidenceOf(error.cause);
  if (error instanceof RuntimeError) return { ...below, ...error.evidence };
  const { syscall, code, path } = error as Partial<SystemError>;
  if (typeof syscall !== 'string' || typeof code !== 'string') return below;
  return {
    ...below,
    systemCall: { syscall, errno: code, ...(typeof path === 'string' && path !== '' ? { path } : {}) },
  };
}

const codeByErrno: Readonly<Record<string, ErrorCode>> = {
  ENOENT: 'NotFound',
  EEXIST: 'AlreadyExists',
  EACCES: 'PermissionDenied',
  EPERM: 'PermissionDenied',
  ENOTDIR: 'FailedPrecondition',
  EISDIR: 'FailedPrecondition',
  ELOOP: 'FailedPrecondition',
  ENXIO: 'FailedPrecondition',
  EROFS: 'FailedPrecondition',
  ENAMETOOLONG: 'InvalidArgument',
  ENOSPC: 'ResourceExhausted',
  EDQUOT: 'ResourceExhausted',
  EMFILE: 'ResourceExhausted',
  ENFILE: 'ResourceExhausted',
  ENOMEM: 'ResourceExhausted',
  EAGAIN: 'ResourceExhausted',
  ETIMEDOUT: 'DeadlineExceeded',
  ENOSYS: 'Unimplemented',
};

/** The class of any thrown value: its own code, else the one its errno suggests, else Internal. */
export function codeOf(error: unknown): ErrorCode {
  if (error instanceof RuntimeError) return error.code;
  if (error instanceof Error && error.name === 'AbortError') return 'Cancelled';
  const errno = errnoOf(error);
  return (errno === undefined ? undefined : codeByErrno[errno]) ?? 'Internal';
}

/** The symbolic errno ("ENOENT") of a native or Node file system error, if it has one. */
export function errnoOf(error: unknown): string | undefined {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return undefined;
}

export function isErrno(error: unknown, ...codes: readonly string[]): boolean {
  const errno = errnoOf(error);
  return errno !== undefined && codes.includes(errno);
}

/** A failed step of a launch plan, as helper and monitor report it. */
export interface StepFailure {
  /** 0 parent, 1 child; undefined: outside of the plan. */
  readonly list: number | undefined;
  readonly index: number | undefined;
  readonly kind: number | undefined;
  readonly errno: number;
  readonly syscall: string;
  readonly detail: string;
}

/** Thrown when a step of a plan failed; whoever has the plan turns it into the user's terms. */
export class StepError extends Error {
  override readonly name = 'StepError';
  readonly failure: StepFailure;

  constructor(failure: StepFailure) {
    super(`${failure.syscall}${failure.detail === '' ? '' : ` ${failure.detail}`}: errno ${failure.errno}`);
    this.failure = failure;
  }
}
