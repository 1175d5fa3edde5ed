import { unimplementedStream } from '../unimplemented.js';

export const streamContainers = unimplementedStream('streaming lists');
