import { unimplementedStream } from '../unimplemented.js';

export const getContainerEvents = unimplementedStream('container events');
