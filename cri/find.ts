import type { Container } from '../runtime/container/types.js';
import { RuntimeError } from '../runtime/errors.js';
import type { Sandbox } from '../runtime/sandbox/types.js';
import type { Runtime } from '../runtime/index.js';
import { quote, refuse } from './translate/check.js';
import { isVisible } from './translate/container-answer.js';
import { isVisibleSandbox } from './translate/sandbox-answer.js';

/**
 * The container of a request, by full id or unambiguous prefix.
 *
 * @throws InvalidArgument without an id, NotFound
 */
export function findContainer(runtime: Runtime, id: string): Container {
  if (id === '') throw refuse('container_id', 'must not be empty');
  const container = runtime.containers.find(id);
  if (container === undefined || !isVisible(container)) {
    throw new RuntimeError('NotFound', 'container', { subject: quote(id), cause: 'no such container' });
  }
  return container;
}

/** The same of a container that runs. @throws FailedPrecondition */
export function findRunningContainer(runtime: Runtime, id: string): Container {
  const container = findContainer(runtime, id);
  if (container.state.phase !== 'running') {
    throw new RuntimeError('FailedPrecondition', `container is ${container.state.phase}, not running`);
  }
  return container;
}

/** The sandbox of a request, as {@link findContainer}. */
export function findSandbox(runtime: Runtime, id: string): Sandbox {
  if (id === '') throw refuse('pod_sandbox_id', 'must not be empty');
  const sandbox = runtime.sandboxes.find(id);
  if (sandbox === undefined || !isVisibleSandbox(sandbox)) {
    throw new RuntimeError('NotFound', 'pod sandbox', { subject: quote(id), cause: 'no such pod sandbox' });
  }
  return sandbox;
}
