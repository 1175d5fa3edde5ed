import { unimplemented } from '../unimplemented.js';

export const exec = unimplemented('streaming sessions');
