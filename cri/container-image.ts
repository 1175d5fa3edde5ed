import type { Container } from '../runtime/container/types.js';
import type { Image } from '../runtime/image/types.js';
import type { Runtime } from '../runtime/index.js';

/** The image a container was made from, unless it was removed meanwhile. */
export function imageOf({ images }: Pick<Runtime, 'images'>, { request }: Container): Image | undefined {
  return images.get(request.image.id);
}
