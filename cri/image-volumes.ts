import { RuntimeError, wrapError } from '../runtime/errors.js';
import type { Runtime } from '../runtime/index.js';
import { quote } from './translate/check.js';
import { topChainId } from './translate/container.js';
import type { FoundImage, ImageVolume, VolumeMount } from './translate/mounts.js';

/** Looks up the images that volumes are mounted from, and the directories in them. The kubelet has pulled them. */
export async function resolveImages(
  volumes: readonly VolumeMount[],
  runtime: Pick<Runtime, 'images' | 'rootfs'>,
): Promise<readonly VolumeMount[]> {
  return Promise.all(
    volumes.map(async (volume) =>
      volume.image === undefined
        ? volume
        : { ...volume, image: { ...volume.image, found: await find(volume, volume.image, runtime) } },
    ),
  );
}

async function find(
  { containerPath }: VolumeMount,
  image: ImageVolume,
  runtime: Pick<Runtime, 'images' | 'rootfs'>,
): Promise<FoundImage> {
  try {
    return await look(image, runtime);
  } catch (error) {
    const op = `mount ${containerPath} (image ${image.reference})`;
    throw new RuntimeError(wrapError(op, error).code, op, {
      cause: error,
      reason: 'ImageVolumeMountFailed',
    });
  }
}

async function look(
  { reference, subPath }: ImageVolume,
  { images, rootfs }: Pick<Runtime, 'images' | 'rootfs'>,
): Promise<FoundImage> {
  const image = images.get(reference);
  if (image === undefined) throw new RuntimeError('FailedPrecondition', 'the image is not present');
  const chainId = topChainId(image);
  if (subPath !== '') {
    const kind = await rootfs.kindOf(chainId, subPath);
    const name = `sub path ${quote(subPath)}`;
    if (kind === undefined)
      throw new RuntimeError('FailedPrecondition', `${name} does not exist in the image`);
    if (kind !== 'directory') throw new RuntimeError('FailedPrecondition', `${name} is not a directory`);
  }
  return { id: image.id, chainId, digest: image.repoDigests[0] ?? image.id };
}
