import { Image as CriImage, type ListImagesRequest } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Image } from '../../runtime/image/types.js';
import { listEncoder } from '../encoded-list.js';
import type { Call } from '../rpc.js';
import { toCriImage } from '../translate/image-answer.js';

const encode = listEncoder((image: Image) => CriImage.encode(toCriImage(image)).finish());

/** Answers with bytes: each image is encoded once. A filter names one image. */
export function listImages({ filter }: ListImagesRequest, { runtime }: Call): Buffer {
  const reference = filter?.image?.image ?? '';
  if (reference === '') return encode(runtime.images.list());
  const image = runtime.images.get(reference);
  return encode(image === undefined ? [] : [image]);
}
