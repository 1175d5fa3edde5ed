import { unimplemented } from '../unimplemented.js';

export const checkpointPod = unimplemented('checkpoints of whole pods');
