import { RuntimeError } from '../runtime/errors.js';

/** A handler that says what is missing. */
export function unimplemented(subject: string): () => never {
  return () => {
    throw new RuntimeError('Unimplemented', `${subject}: not supported yet`);
  };
}

/** The same for an rpc that answers with a stream. */
export function unimplementedStream(subject: string): () => AsyncIterable<never> {
  return async function* () {
    yield* [];
    throw new RuntimeError('Unimplemented', `${subject}: not supported yet`);
  };
}
