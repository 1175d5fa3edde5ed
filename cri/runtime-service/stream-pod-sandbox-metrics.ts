import { unimplementedStream } from '../unimplemented.js';

export const streamPodSandboxMetrics = unimplementedStream('pod metrics');
