import type { Container } from '../../runtime/container/types.js';
import { RuntimeError } from '../../runtime/errors.js';
import type { Runtime } from '../../runtime/index.js';
import type { Sandbox } from '../../runtime/sandbox/types.js';
import { quote } from '../translate/check.js';

/** What that API calls a container: one of ours, or a sandbox. */
export type Found =
  | { readonly kind: 'container'; readonly container: Container; readonly sandbox?: undefined }
  | { readonly kind: 'sandbox'; readonly sandbox: Sandbox; readonly container?: undefined };

/**
 * By its whole id: cAdvisor takes it from the path of a cgroup, and must not be told of another whose id begins like it.
 *
 * @throws NotFound
 */
export function find({ containers, sandboxes }: Runtime, id: string): Found {
  const container = containers.find(id);
  if (container?.id === id) return { kind: 'container', container };
  const sandbox = sandboxes.find(id);
  if (sandbox?.id === id) return { kind: 'sandbox', sandbox };
  throw new RuntimeError('NotFound', 'container', { subject: quote(id), cause: 'no such container' });
}
