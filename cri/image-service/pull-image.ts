import type { PullImageRequest, PullImageResponse } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Call } from '../rpc.js';
import { toImageReference, toRegistryAuth } from '../translate/image-answer.js';

export async function pullImage(
  { image, auth }: PullImageRequest,
  { runtime, config, signal }: Call,
): Promise<PullImageResponse> {
  const { ref } = await runtime.images.pull(
    { reference: toImageReference(image, config), auth: toRegistryAuth(auth) },
    signal,
  );
  return { imageRef: ref };
}
