import { RuntimeError } from '../runtime/errors.js';

/** A handler that says what is missing. */
export function unimplemented(subject: string): () => never {
  return () => {
    throw new RuntimeError('Unimplemented', `${subject}: not supported yet`);
  };
}
