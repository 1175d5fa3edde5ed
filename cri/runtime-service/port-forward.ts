import { unimplemented } from '../unimplemented.js';

export const portForward = unimplemented('streaming sessions');
