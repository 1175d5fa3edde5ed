import path from 'node:path';
import {
  type ContainerStatus,
  type PodSandboxStatus,
  ContainerState,
  NamespaceMode,
} from '../protos/gen/cri/runtime/v1/api.js';
import type * as api from '../protos/gen/cri/runtime/v1/api.js';
import { awaitChange } from './await-change.js';
import type { CallLimits } from './cri-client.js';
import { type Daemon, type DaemonOptions, startDaemon } from './daemon.js';
import { buildBusyboxImage } from './fixtures/busybox-image.js';
import { writeHostsDirectory } from './fixtures/hosts-directory.js';
import type { BuiltImage } from './fixtures/image-builder.js';
import { type ImageServer, startImageServer } from './fixtures/image-server.js';
import { slowness } from './slowness.js';

export type PodConfig = api.DeepPartial<api.PodSandboxConfig>;
export type ContainerConfig = api.DeepPartial<api.ContainerConfig>;

/** How long a test waits for something that should happen at once, on a machine that is busy. */
export const patienceMs = 30_000 * slowness;

/** A daemon of its own with a busybox image in its store, and the few calls that nearly every test makes. */
export interface Bed extends AsyncDisposable {
  readonly daemon: Daemon;
  readonly server: ImageServer;
  /** Reference of the busybox image. */
  readonly image: string;
  /** Serves an image under a name of its own; nothing is pulled. */
  serve(name: string, image: BuiltImage): string;
  /** Removes everything, and checks that nothing of the daemon is left. */
  end(): Promise<void>;
}

export interface Pod {
  readonly id: string;
  readonly config: PodConfig;
  /** Of the request: the directory of the containers' logs. */
  readonly logDirectory: string;
}

export interface Workload {
  readonly id: string;
  readonly pod: Pod;
  readonly log: string;
}

let busybox: Promise<BuiltImage> | undefined;

export async function openBed(options: DaemonOptions = {}): Promise<Bed> {
  busybox ??= buildBusyboxImage();
  const image = await busybox;
  const server = await startImageServer();
  try {
    const daemon = await startDaemon(options);
    const bed = makeBed(daemon, server);
    try {
      await writeHostsDirectory(daemon.hostsDirectory, server.host, []);
      await daemon.client.image.pullImage({ image: { image: bed.serve('busybox', image) } });
      return bed;
    } catch (error) {
      await daemon.destroy();
      throw error;
    }
  } catch (error) {
    await server.stop();
    throw error;
  }
}

function makeBed(daemon: Daemon, server: ImageServer): Bed {
  const nameOf = (name: string): string => `${server.host}/test/${name}:1`;
  const dispose = async (): Promise<void> => {
    await server.stop();
    await daemon.destroy();
  };
  return {
    daemon,
    server,
    image: nameOf('busybox'),
    serve: (name, image) => {
      server.add(`test/${name}`, '1', image);
      return nameOf(name);
    },
    end: async () => {
      await server.stop();
      await daemon.end();
    },
    [Symbol.asyncDispose]: dispose,
  };
}

/** A pod as the kubelet asks for it: a pid namespace for each container, a log directory of its own. */
export function podConfig({ daemon }: Bed, name: string, more: PodConfig = {}): PodConfig {
  return {
    metadata: { name, namespace: 'e2e', uid: `uid-${name}`, attempt: 0 },
    hostname: name.slice(0, 63),
    logDirectory: path.join(daemon.instance.scratch, 'logs', name),
    linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } } },
    ...more,
  };
}

/** Linux settings of a pod on the host's network, the cheapest there is. */
export const hostNetwork: PodConfig = {
  linux: {
    securityContext: { namespaceOptions: { network: NamespaceMode.NODE, pid: NamespaceMode.CONTAINER } },
  },
};

/** Settings of a container that sees the processes of its pod. */
export const sharedPid: ContainerConfig = {
  linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.POD } } },
};

/** A script that says the numbers from 0 on, twenty a second. */
export const counting = 'i=0; while :; do echo $i; i=$((i+1)); usleep 50000; done';

export async function runPod(bed: Bed, name: string, more: PodConfig = {}): Promise<Pod> {
  const config = podConfig(bed, name, more);
  const { podSandboxId } = await bed.daemon.client.runtime.runPodSandbox({ config });
  return { id: podSandboxId, config, logDirectory: config.logDirectory ?? '' };
}

/** @param command a script for the shell, or an argument vector */
export function containerConfig(
  { image }: Pick<Bed, 'image'>,
  name: string,
  command: string | readonly string[],
  more: ContainerConfig = {},
): ContainerConfig {
  return {
    metadata: { name, attempt: 0 },
    image: { image },
    command: typeof command === 'string' ? ['sh', '-c', command] : [...command],
    logPath: `${name}.log`,
    ...more,
  };
}

export async function createContainer(bed: Bed, pod: Pod, config: ContainerConfig): Promise<Workload> {
  const request = { podSandboxId: pod.id, config, sandboxConfig: pod.config };
  const { containerId } = await bed.daemon.client.runtime.createContainer(request);
  return { id: containerId, pod, log: path.join(pod.logDirectory, config.logPath ?? '') };
}

/** Creates and starts it. */
export async function runContainer(bed: Bed, pod: Pod, config: ContainerConfig): Promise<Workload> {
  const workload = await createContainer(bed, pod, config);
  await bed.daemon.client.runtime.startContainer({ containerId: workload.id });
  return workload;
}

export async function podStatusOf({ daemon }: Bed, { id: podSandboxId }: Pod): Promise<PodSandboxStatus> {
  const { status } = await daemon.client.runtime.podSandboxStatus({ podSandboxId });
  if (status === undefined) throw new Error(`${podSandboxId} has no status`);
  return status;
}

/** The verbose part of a pod's status, parsed. */
export async function podInfoOf(
  { daemon }: Bed,
  { id: podSandboxId }: Pick<Pod, 'id'>,
): Promise<Readonly<Record<string, unknown>>> {
  const { info } = await daemon.client.runtime.podSandboxStatus({ podSandboxId, verbose: true });
  return JSON.parse(info['info'] ?? '{}') as Readonly<Record<string, unknown>>;
}

/** Process id of the pod's pause process on the host. */
export async function pauseOf(bed: Bed, pod: Pod): Promise<number> {
  return Number((await podInfoOf(bed, pod))['pid']);
}

/** Empty on the host's network. */
export async function addressOf(bed: Bed, pod: Pod): Promise<string> {
  return (await podStatusOf(bed, pod)).network?.ip ?? '';
}

export async function statusOf({ daemon }: Bed, containerId: string): Promise<ContainerStatus> {
  const { status } = await daemon.client.runtime.containerStatus({ containerId });
  if (status === undefined) throw new Error(`${containerId} has no status`);
  return status;
}

/** The verbose part of a container's status, parsed. */
export async function infoOf(
  { daemon }: Bed,
  containerId: string,
): Promise<Readonly<Record<string, unknown>>> {
  const { info } = await daemon.client.runtime.containerStatus({ containerId, verbose: true });
  return JSON.parse(info['info'] ?? '{}') as Readonly<Record<string, unknown>>;
}

/** Process id of the container's init on the host. */
export async function pidOf(bed: Bed, containerId: string): Promise<number> {
  return Number((await infoOf(bed, containerId))['pid']);
}

/** The status of a container that has ended, as soon as it has. */
export async function exitOf(bed: Bed, containerId: string, signal?: AbortSignal): Promise<ContainerStatus> {
  const look = async (): Promise<ContainerStatus | undefined> => {
    const status = await statusOf(bed, containerId);
    return status.state === ContainerState.CONTAINER_EXITED ? status : undefined;
  };
  // What an exit leaves is written there.
  const directory = path.join(bed.daemon.instance.root, 'containers', containerId);
  return awaitChange(directory, look, patience(signal));
}

/** Fires when the other signal does, or when patience is at an end. AbortSignal.any would not keep a timer alive. */
function patience(other?: AbortSignal): AbortSignal {
  if (other === undefined) return AbortSignal.timeout(patienceMs);
  const both = new AbortController();
  const abort = (): void => both.abort(other.reason);
  if (other.aborted) abort();
  else other.addEventListener('abort', abort, { once: true });
  setTimeout(() => both.abort(new Error(`waited ${patienceMs} ms`)), patienceMs).unref();
  return both.signal;
}

export interface ExecOutcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

/** @param command a script for the shell, or an argument vector */
export async function exec(
  { daemon }: Bed,
  containerId: string,
  command: string | readonly string[],
  { timeoutSeconds = 20 * slowness, ...limits }: CallLimits & { readonly timeoutSeconds?: number } = {},
): Promise<ExecOutcome> {
  const cmd = typeof command === 'string' ? ['sh', '-c', command] : [...command];
  const request = { containerId, cmd, timeout: BigInt(timeoutSeconds) };
  const { stdout, stderr, exitCode } = await daemon.client.runtime.execSync(request, limits);
  return { stdout: Buffer.from(stdout).toString(), stderr: Buffer.from(stderr).toString(), exitCode };
}

export async function removePod({ daemon }: Bed, { id }: Pod): Promise<void> {
  await daemon.client.runtime.stopPodSandbox({ podSandboxId: id });
  await daemon.client.runtime.removePodSandbox({ podSandboxId: id });
}
