import type { ListImagesRequest } from '../../protos/gen/cri/runtime/v1/api.js';
import { selectImages } from '../filters.js';
import { imageList } from '../lists.js';
import type { Call } from '../rpc.js';

export function listImages({ filter }: ListImagesRequest, { runtime }: Call): Buffer {
  return imageList.whole(selectImages(runtime, filter));
}
