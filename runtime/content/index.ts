export { openContentStore, type ContentStoreOptions } from './store.js';
export type * from './types.js';
