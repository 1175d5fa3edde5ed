import type { RemoveImageRequest, RemoveImageResponse } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Call } from '../rpc.js';
import { toImageReference } from '../translate/image-answer.js';

/** An image that is gone is removed. */
export async function removeImage(
  { image }: RemoveImageRequest,
  { runtime, config }: Call,
): Promise<RemoveImageResponse> {
  await runtime.images.remove(toImageReference(image, config));
  return {};
}
