import { unimplementedStream } from '../unimplemented.js';

export const streamPodSandboxStats = unimplementedStream('streaming lists');
