export { openImageService, type ImageServiceOptions } from './service.js';
export type * from './types.js';
