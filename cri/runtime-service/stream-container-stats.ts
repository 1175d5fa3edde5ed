import { unimplementedStream } from '../unimplemented.js';

export const streamContainerStats = unimplementedStream('streaming lists');
