export { openImageService } from './service.js';
export type * from './types.js';
