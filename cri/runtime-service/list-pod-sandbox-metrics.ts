import { unimplemented } from '../unimplemented.js';

export const listPodSandboxMetrics = unimplemented('pod metrics');
