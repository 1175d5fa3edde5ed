import type { ContainerStatus } from '../protos/gen/cri/runtime/v1/api.js';
import type { Runtime } from '../runtime/index.js';
import { imageOf } from './container-image.js';
import { isVisible, toCriContainerStatus } from './translate/container-answer.js';

/** Where sandboxes, containers and their images are looked up. */
export type Objects = Pick<Runtime, 'sandboxes' | 'containers' | 'images'>;

/** All containers of a sandbox as ContainerStatus shows them. */
export function containerStatusesOf(
  sandboxId: string,
  objects: Pick<Objects, 'containers' | 'images'>,
): ContainerStatus[] {
  return objects.containers
    .list()
    .filter((container) => container.request.sandboxId === sandboxId && isVisible(container))
    .map((container) => toCriContainerStatus(container, imageOf(objects, container)));
}
