export { openCheckpointer, type CheckpointerOptions } from './checkpointer.js';
