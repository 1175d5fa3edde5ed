import type { StreamImagesRequest } from '../../protos/gen/cri/runtime/v1/api.js';
import { selectImages } from '../filters.js';
import { imageList } from '../lists.js';
import type { Call } from '../rpc.js';

/** ListImages in several messages: the images there were when the call came. */
export function streamImages(
  { filter }: StreamImagesRequest,
  { runtime, signal }: Call,
): AsyncIterable<Buffer> {
  return imageList.chunks(selectImages(runtime, filter), signal);
}
