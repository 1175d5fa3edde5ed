import { errnoName } from '../base/errno.js';
import { RuntimeError, StepError, SystemError, codeOf } from '../errors.js';
import type { FrameValues } from './frames.js';

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
