import type { Runtime } from '../runtime/index.js';
import { RuntimeError } from '../runtime/errors.js';

type Features = Awaited<ReturnType<Runtime['features']>>;

/** @throws FailedPrecondition saying why this node cannot do it */
export async function needKernel(
  runtime: Pick<Runtime, 'features'>,
  feature: keyof Features,
  field: string,
): Promise<void> {
  const why = (await runtime.features())[feature];
  if (why === undefined) return;
  throw new RuntimeError('FailedPrecondition', field, { cause: `this node cannot: ${why}` });
}
