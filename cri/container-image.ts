import type { Container } from '../runtime/container/types.js';
import type { Image } from '../runtime/image/types.js';
import type { Runtime } from '../runtime/index.js';

/** The image a container was made from, unless it was removed meanwhile. */
export function find(runtime: Runtime, container: Container): Image | undefined {
  return runtime.images.get(container.request.image.id);
}
