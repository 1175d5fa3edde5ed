import { RuntimeError } from '../../errors.js';

/** The RuntimeError that work fails with; anything else fails the test. */
export async function failureOf(work: Promise<unknown>): Promise<RuntimeError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof RuntimeError) return error;
    throw error;
  }
  throw new Error('it did not fail');
}
