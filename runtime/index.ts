import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { raiseFileLimit, setUmask } from '../native/index.js';
import { type ApparmorProfiles, openApparmor } from './apparmor/index.js';
import { instanceOf } from './base/ids.js';
import type { Logger } from './base/logger.js';
import { type CdiDevices, openCdi } from './cdi/index.js';
import { openCgroupDriver } from './cgroup/index.js';
import type { CgroupDriver } from './cgroup/types.js';
import { openCheckpointer } from './checkpoint/index.js';
import { Containers } from './container/service.js';
import type { ContainerService } from './container/types.js';
import { openContentStore } from './content/index.js';
import { openImageService } from './image/index.js';
import type { ImageService } from './image/types.js';
import { openHelper, openMonitors, openRelays, runPlan } from './monitor/index.js';
import { callProgram } from './network/program.js';
import { type KernelFeatures, kernelFeatures } from './kernel-features.js';
import { openNetwork } from './network/service.js';
import type { NetworkService } from './network/types.js';
import {
  compileContainerPlan,
  compileExecPlan,
  compilePausePlan,
  compileRestorePlan,
  encodePlan,
  explainFailure,
  printPlan,
} from './plan/compile.js';
import type { Plan } from './plan/steps.js';
import { RuntimeError, StepError } from './errors.js';
import { Sandboxes } from './sandbox/service.js';
import type { SandboxService } from './sandbox/types.js';
import { openSeccomp, type SeccompProfiles } from './seccomp/index.js';
import { openSnapshotter } from './snapshot/index.js';
import type { View } from './snapshot/types.js';
import { openInstance, nativeProgram } from './instance.js';
import { type StorageFigures, storageFigures } from './storage.js';

export interface RuntimeOptions {
  /** Images, layers, records: survives a boot. */
  readonly root: string;
  /** Sockets, live state, exit records: dies with the boot. */
  readonly state: string;
  readonly logger: Logger;
  readonly network: {
    readonly confDir: string;
    readonly binDirs: readonly string[];
    readonly builtin: boolean;
    /** Empty: named after the instance. */
    readonly bridge: string;
    /** Subnets of the built-in bridge. */
    readonly pools: readonly string[];
  };
  readonly registry: {
    readonly configPath: readonly string[];
    /** Plain http to registries on loopback that have no hosts.toml. */
    readonly plainHttpLoopback?: boolean;
    readonly parallelDownloads: number;
    /** 0: never. */
    readonly noProgressTimeoutMs: number;
    readonly pinned: readonly string[];
  };
  readonly cgroup: { readonly driver: 'cgroupfs' | 'systemd'; readonly parent: string };
  /** CRIU: a path, or a name looked up in PATH. */
  readonly checkpoint: { readonly criu: string };
  /** Directories of CDI specifications; a later one overrides an earlier one. */
  readonly cdi: { readonly directories: readonly string[] };
  /** Called before what an earlier process left is taken up: whoever subscribes here misses no change. */
  readonly observe?: (objects: Pick<Runtime, 'sandboxes' | 'containers' | 'images'>) => void;
}

/** The runtime as a library: what a CRI server, or any other face, is built on. */
export interface Runtime {
  readonly sandboxes: SandboxService;
  readonly containers: ContainerService;
  readonly images: ImageService;
  readonly network: NetworkService;
  readonly cgroups: CgroupDriver;
  readonly rootfs: {
    /** A regular file of an image; undefined if there is none. @throws FailedPrecondition (no regular file), ResourceExhausted (too long) */
    readFile(chainId: string, containerPath: string, maxBytes: number): Promise<Buffer | undefined>;
    /** What an image has at a path, following its links; undefined if there is nothing. */
    kindOf(chainId: string, containerPath: string): Promise<'directory' | 'other' | undefined>;
  };
  readonly seccomp: SeccompProfiles;
  readonly cdi: CdiDevices;
  /** Used only where the kernel has AppArmor. */
  readonly apparmor: ApparmorProfiles;
  /** The file system of images and writable layers, and the names of block devices. */
  readonly storage: () => Promise<StorageFigures>;
  /** What the kernel and the node's file systems can do for containers. */
  readonly features: () => Promise<KernelFeatures>;
  /** Lets go of everything; containers run on. */
  close(): Promise<void>;
}

const NETNS_DIR = '/run/netns';

/**
 * Opens the runtime on its directories and takes up what an earlier process left: living containers are adopted, those
 * that ended meanwhile reported with their true exit code, what was half made unmade.
 *
 * @throws FailedPrecondition when another daemon holds the root directory
 */
export async function openRuntime(options: RuntimeOptions): Promise<Runtime> {
  const { root, state, logger } = options;
  // Modes are what each call says, and children start with what every shell expects.
  setUmask(0o022);
  const fileLimit = raiseFileLimit();
  const instance = await openInstance({ root, state, logger });
  await mkdir(NETNS_DIR, { recursive: true, mode: 0o755 });

  const helperFd = await openHelper(nativeProgram('podwright-init'));
  const cgroups = await openCgroupDriver(options.cgroup);
  const snapshotter = await openSnapshotter({
    root,
    logger,
    unpackerPath: nativeProgram('podwright-unpack'),
    bootId: instance.bootId,
  });
  const content = await openContentStore({ path: path.join(root, 'images'), logger });
  const images = await openImageService({
    content,
    layers: snapshotter.layers,
    logger,
    receiverPath: nativeProgram('podwright-unpack'),
    ...options.registry,
  });
  const seccomp = await openSeccomp({ cacheDir: path.join(root, 'seccomp'), logger });
  const monitors = openMonitors({ helperFd, logger });
  const relays = openRelays(helperFd);
  const launch = async (plan: Plan, signal?: AbortSignal): Promise<number | undefined> => {
    try {
      return (await runPlan({ helperFd, plan: encodePlan(plan), signal })).pid;
    } catch (error) {
      throw error instanceof StepError ? explainFailure(plan, error.failure) : error;
    }
  };
  const network = await openNetwork({
    confDir: options.network.confDir,
    binDirs: options.network.binDirs,
    cacheDir: path.join(root, 'cni'),
    logger,
    builtin: options.network.builtin
      ? {
          instance: instanceOf(root),
          bridge: options.network.bridge === '' ? `pw-${instanceOf(root)}` : options.network.bridge,
          pools: options.network.pools,
          mtu: 0,
          runPlan: async (plan) => {
            await launch(plan);
          },
        }
      : undefined,
  });

  const containers: Containers = new Containers({
    containersDir: path.join(root, 'containers'),
    stateContainersDir: path.join(state, 'containers'),
    bootId: instance.bootId,
    fileLimit,
    logger,
    cgroups,
    sandboxes: { find: (id) => sandboxes.find(id) },
    images,
    snapshots: snapshotter.snapshots,
    monitors,
    relayTerminal: relays.terminal,
    plans: {
      seccomp: (profile) => seccomp.compile(profile),
      container: compileContainerPlan,
      restore: compileRestorePlan,
      exec: compileExecPlan,
      encode: encodePlan,
      print: printPlan,
      explain: explainFailure,
    },
    checkpointer: openCheckpointer({
      criu: options.checkpoint.criu,
      workDir: path.join(root, 'checkpoints'),
      logger,
      snapshots: snapshotter.snapshots,
      images,
      cgroups,
    }),
  });
  const sandboxes: Sandboxes = new Sandboxes({
    podsDir: path.join(root, 'pods'),
    statePodsDir: path.join(state, 'pods'),
    netnsDir: NETNS_DIR,
    instance: instanceOf(root),
    bootId: instance.bootId,
    logger,
    cgroups,
    network,
    compilePausePlan,
    connectIn: relays.connect,
    launchPause: async (plan, _sandboxId, signal) => {
      const pid = await launch(plan, signal);
      if (pid === undefined) throw new RuntimeError('Internal', 'the pause process reported no pid');
      return pid;
    },
    containersOf: (sandboxId) => containers.of(sandboxId),
    killContainer: (id, signal) => containers.stop(id, 0, signal),
    removeContainer: (id, signal) => containers.remove(id, signal),
  });
  options.observe?.({ sandboxes, containers, images });
  await sandboxes.recover();
  await containers.recover();
  await images.sweep();

  return {
    sandboxes,
    containers,
    images,
    network,
    cgroups,
    rootfs: {
      readFile: async (chainId, containerPath, maxBytes) => {
        const view = await snapshotter.snapshots.view(chainId);
        try {
          return await readIfThere(view, containerPath, maxBytes);
        } finally {
          view.close();
        }
      },
      kindOf: async (chainId, containerPath) => {
        const view = await snapshotter.snapshots.view(chainId);
        try {
          const stats = await view.stat(containerPath);
          if (stats === undefined) return undefined;
          return stats.isDirectory() ? 'directory' : 'other';
        } finally {
          view.close();
        }
      },
    },
    seccomp,
    cdi: openCdi(options.cdi),
    apparmor: openApparmor({ callProgram }),
    storage: storageFigures(root),
    features: kernelFeatures({ directories: [root, state], runPlan: (plan) => launch(plan) }),
    close: async () => {
      containers.close();
      await network.close();
      await images.close();
      await snapshotter.close();
      instance.close();
    },
  };
}

async function readIfThere(view: View, containerPath: string, maxBytes: number): Promise<Buffer | undefined> {
  try {
    return await view.readFile(containerPath, maxBytes);
  } catch (error) {
    if (error instanceof RuntimeError && error.code === 'NotFound') return undefined;
    throw error;
  }
}
