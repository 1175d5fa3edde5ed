import { RuntimeError } from '../errors.js';
import type { ProcessIdentity } from '../sandbox/types.js';
import type { Containers } from './service.js';
import type { ContainerRequest } from './types.js';

/**
 * Init of the container whose pid namespace another one asks for (CRI NamespaceMode TARGET): one of the same sandbox, and
 * alive. When it ends as pid 1 of that namespace, the kernel kills all that joined it.
 *
 * @throws NotFound, InvalidArgument (of another sandbox), FailedPrecondition (not running)
 */
export function pidTargetOf(
  { store }: Containers,
  { pidTarget, sandboxId }: ContainerRequest,
): ProcessIdentity | undefined {
  if (pidTarget === undefined) return undefined;
  const op = 'join the pid namespace of container';
  const target = store.find(pidTarget)?.value;
  if (target === undefined)
    throw new RuntimeError('NotFound', op, { subject: pidTarget, cause: 'no such container' });
  const { state, request } = target;
  if (request.sandboxId !== sandboxId) {
    const cause = `it belongs to pod sandbox ${request.sandboxId}`;
    throw new RuntimeError('InvalidArgument', op, { subject: pidTarget, cause });
  }
  if (state.phase !== 'running' && state.phase !== 'paused') {
    const cause = `it is ${state.phase}, not running`;
    throw new RuntimeError('FailedPrecondition', op, { subject: pidTarget, cause });
  }
  return state.init;
}
