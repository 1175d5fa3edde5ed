import type { ImageStatusRequest, ImageStatusResponse } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Call } from '../rpc.js';
import { toCriImage, toImageReference } from '../translate/image-answer.js';
import { toInfo } from '../verbose.js';

/** An image that is not present is an empty answer. */
export function imageStatus(
  { image: spec, verbose }: ImageStatusRequest,
  { runtime, config: settings }: Call,
): ImageStatusResponse {
  const image = runtime.images.get(toImageReference(spec, settings));
  if (image === undefined) return { image: undefined, info: {} };
  const { config, layers } = image;
  return {
    image: toCriImage(image),
    info: verbose ? toInfo({ chainID: layers.at(-1)?.chainId, imageSpec: { config }, layers }) : {},
  };
}
