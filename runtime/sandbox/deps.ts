import type { Duplex } from 'node:stream';
import type { Logger } from '../base/logger.js';
import type { CgroupDriver } from '../cgroup/types.js';
import type { NetworkService } from '../network/types.js';
import type { PausePlanOptions } from '../plan/options.js';
import type { Plan } from '../plan/steps.js';

/** What the sandbox room is given by the composition root. */
export interface SandboxDeps {
  /** Records: `<root>/pods/<id>`. */
  readonly podsDir: string;
  /** What dies with the boot: `<state>/pods/<id>`. */
  readonly statePodsDir: string;
  /** Network namespaces are pinned here under names that carry the instance. */
  readonly netnsDir: string;
  readonly instance: string;
  readonly bootId: string;
  readonly logger: Logger;
  readonly cgroups: CgroupDriver;
  readonly network: NetworkService;
  readonly compilePausePlan: (options: PausePlanOptions) => Plan;
  /** Launches a pause process; resolves with its pid when it is ready. */
  readonly launchPause: (plan: Plan, sandboxId: string, signal: AbortSignal) => Promise<number>;
  /** Connects to a port on the loopback of a network namespace. */
  readonly connectIn: (netnsPath: string, port: number, signal: AbortSignal) => Promise<Duplex>;
  /** The containers of a sandbox, in the order they were made. */
  readonly containersOf: (sandboxId: string) => readonly string[];
  readonly killContainer: (id: string, signal: AbortSignal) => Promise<void>;
  readonly removeContainer: (id: string, signal: AbortSignal) => Promise<void>;
}
