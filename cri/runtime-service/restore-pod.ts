import { unimplemented } from '../unimplemented.js';

export const restorePod = unimplemented('checkpoints of whole pods');
