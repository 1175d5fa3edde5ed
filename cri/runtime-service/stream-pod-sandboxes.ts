import { unimplementedStream } from '../unimplemented.js';

export const streamPodSandboxes = unimplementedStream('streaming lists');
