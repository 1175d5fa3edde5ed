import type { Logger } from '../runtime/base/logger.js';
import type { Runtime } from '../runtime/index.js';
import type { Config } from './config.js';

/** What every handler works with; made once at start. */
export interface Services {
  readonly runtime: Runtime;
  readonly config: Config;
  readonly log: Logger;
}
