import type { Logger } from '../runtime/base/logger.js';
import type { Runtime } from '../runtime/index.js';
import type { Config } from './config.js';
import type { CpuRates } from './cpu-rates.js';
import type { ContainerEvents } from './events/container-events.js';
import type { Host } from './host.js';
import type { Journal } from './journal/journal.js';
import type { Metrics } from './metrics/types.js';
import type { StreamingServer } from './streaming/server.js';
import type { UserDatabases } from './user-databases.js';

/** What every handler works with; made once at start. */
export interface Services {
  /** Of this program. */
  readonly version: string;
  readonly runtime: Runtime;
  readonly config: Config;
  readonly log: Logger;
  readonly host: Host;
  readonly cpuRates: CpuRates;
  readonly userDatabases: UserDatabases;
  readonly events: ContainerEvents;
  readonly journal: Journal;
  readonly streaming: StreamingServer;
  /** Where an address for them is configured. */
  readonly metrics?: Metrics | undefined;
}
