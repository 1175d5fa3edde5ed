import type { ContainerPlanOptions } from './deps.js';
import type { Containers } from './service.js';
import type { ContainerRequest } from './types.js';

/** Every image that a container needs while it exists: its own and those of its volumes. */
function imagesOf({ image, imageMounts = [] }: ContainerRequest): ReadonlySet<string> {
  return new Set([image.id, ...imageMounts.map((mount) => mount.image.id)]);
}

/** Keeps the images' layers while the container exists. */
export function pinImages({ deps }: Containers, id: string, request: ContainerRequest): void {
  for (const image of imagesOf(request)) deps.images.pin(image, id);
}

export function unpinImages({ deps }: Containers, id: string, request: ContainerRequest): void {
  for (const image of imagesOf(request)) deps.images.unpin(image, id);
}

/** What the images of volumes are mounted from. @throws NotFound when a layer is missing */
export function imageTrees(
  { deps }: Containers,
  { imageMounts = [] }: ContainerRequest,
): NonNullable<ContainerPlanOptions['imageMounts']> {
  return new Map(
    imageMounts.map(({ destination, image, subPath }) => [
      destination,
      { ...deps.snapshots.layersOf(image.chainId), subPath },
    ]),
  );
}
