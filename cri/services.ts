import type { Logger } from '../runtime/base/logger.js';
import type { CgroupDriver } from '../runtime/cgroup/types.js';
import type { ContainerService } from '../runtime/container/types.js';
import type { ImageService } from '../runtime/image/types.js';
import type { NetworkService } from '../runtime/network/types.js';
import type { SandboxService } from '../runtime/sandbox/types.js';
import type { Seccomp } from '../runtime/spec/types.js';
import type { Config } from './config.js';
import type { CpuRates } from './cpu-rates.js';
import type { Host } from './host.js';
import type { UserDatabases } from './user-databases.js';

/** What the CRI needs of the runtime; `openRuntime` gives it. */
export interface Runtime {
  readonly version: string;
  readonly sandboxes: SandboxService;
  readonly containers: ContainerService;
  readonly images: ImageService;
  readonly network: NetworkService;
  readonly cgroups: Pick<CgroupDriver, 'name' | 'mode' | 'controllers'>;
  readonly rootfs: RootfsReader;
  readonly seccomp: SeccompProfiles;
  /** Lets go of everything; containers run on. */
  close(): Promise<void>;
}

/** Looks into an image's file system without running anything of it. */
export interface RootfsReader {
  /**
   * A regular file's content, symbolic links resolved inside the image; undefined if there is none.
   *
   * @throws FailedPrecondition for anything but a regular file, ResourceExhausted if it is longer than `maxBytes`
   */
  readFile(chainId: string, containerPath: string, maxBytes: number): Promise<Buffer | undefined>;
}

export interface SeccompProfiles {
  /** The runtime's own profile for a container with these capabilities; the same value for the same ones. */
  defaultProfile(capabilities: readonly string[]): Seccomp;
  /** A profile in the OCI's JSON form. @throws InvalidArgument */
  parseProfile(text: string): Seccomp;
}

/** What every handler works with; made once at start. */
export interface Services {
  readonly runtime: Runtime;
  readonly config: Config;
  readonly log: Logger;
  readonly host: Host;
  readonly cpuRates: CpuRates;
  readonly userDatabases: UserDatabases;
}
