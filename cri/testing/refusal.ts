import { RuntimeError } from '../../runtime/errors.js';

/** `CODE: message` of the RuntimeError that something throws. */
export function refusalOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    return error instanceof RuntimeError
      ? `${error.code}: ${error.message}`
      : `not a RuntimeError: ${String(error)}`;
  }
  return 'accepted';
}
