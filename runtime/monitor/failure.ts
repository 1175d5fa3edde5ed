import { constants } from 'node:os';
import { RuntimeError, StepError, SystemError, codeOf } from '../errors.js';
import type { FrameValues } from './frames.js';

/** Second names of a number, which the kernel's own lists do not use. */
const aliases = new Set(['EWOULDBLOCK', 'EDEADLOCK', 'ENOTSUP']);

const namesByErrno = new Map<number, string>(
  Object.entries(constants.errno)
    .filter(([name]) => !aliases.has(name))
    .map(([name, number]) => [number, name]),
);

/** "ENOENT" of 2; a number that Node does not know stays a number. */
export function errnoName(errno: number): string {
  return namesByErrno.get(errno) ?? `errno ${errno}`;
}

/** What the values of a FAILED frame, or of an exit record, say went wrong. */
export function failureOf(values: FrameValues): StepError | SystemError | RuntimeError {
  const { errno = 0, syscall = '', detail = '', stepList, stepIndex, stepKind, message } = values;
  if (stepList !== undefined) {
    return new StepError({ list: stepList, index: stepIndex, kind: stepKind, errno, syscall, detail });
  }
  const cause = new SystemError({
    syscall,
    errno,
    code: errnoName(errno),
    path: detail === '' ? undefined : detail,
  });
  return message === undefined ? cause : new RuntimeError(codeOf(cause), message, { cause });
}
