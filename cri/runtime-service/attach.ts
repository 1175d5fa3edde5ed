import { unimplemented } from '../unimplemented.js';

export const attach = unimplemented('streaming sessions');
