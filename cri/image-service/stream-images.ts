import { unimplementedStream } from '../unimplemented.js';

export const streamImages = unimplementedStream('streaming lists');
