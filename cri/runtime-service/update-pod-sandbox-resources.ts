import { unimplemented } from '../unimplemented.js';

export const updatePodSandboxResources = unimplemented('changing the resources of a sandbox');
