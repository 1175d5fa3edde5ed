import type { ImageServiceService } from '../../protos/gen/cri/runtime/v1/api.js';
import type { HandlerTable } from '../rpc.js';
import { imageFsInfo } from './image-fs-info.js';
import { imageStatus } from './image-status.js';
import { listImages } from './list-images.js';
import { pullImage } from './pull-image.js';
import { removeImage } from './remove-image.js';
import { streamImages } from './stream-images.js';

/** Every rpc of ImageService and who answers it. */
export const imageService: HandlerTable<ImageServiceService> = {
  listImages,
  streamImages,
  imageStatus,
  pullImage,
  removeImage,
  imageFsInfo,
};
