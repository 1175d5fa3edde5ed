import {
  CreateContainerRequest,
  NamespaceMode,
  RunPodSandboxRequest,
  RuntimeServiceService as methods,
  type ContainerConfig,
  type DeepPartial,
  type PodSandboxConfig,
} from '../../protos/gen/cri/runtime/v1/api.js';
import type { RuntimeUnderTest } from './runtimes.js';
import type { Samples } from './samples.js';

export const IMAGE = 'docker.io/library/busybox:latest';

export interface Pod {
  readonly podSandboxId: string;
  readonly containerId: string;
}

/** A pod as the kubelet asks for one: default seccomp profile, limits, a log. */
export interface PodOptions {
  readonly name: string;
  readonly hostNetwork: boolean;
}

export function sandboxConfig(
  runtime: Pick<RuntimeUnderTest, 'name' | 'scratch'>,
  { name, hostNetwork }: PodOptions,
): DeepPartial<PodSandboxConfig> {
  return {
    metadata: { name, uid: `uid-${name}`, namespace: 'bench', attempt: 0 },
    hostname: hostNetwork ? '' : name,
    logDirectory: `${runtime.scratch}/logs/${name}`,
    labels: { app: 'bench', 'io.kubernetes.pod.name': name },
    linux: {
      cgroupParent: `/${runtime.name}-bench`,
      securityContext: { namespaceOptions: namespaces(hostNetwork) },
    },
  };
}

function namespaces(hostNetwork: boolean) {
  return {
    network: hostNetwork ? NamespaceMode.NODE : NamespaceMode.POD,
    pid: NamespaceMode.CONTAINER,
    ipc: NamespaceMode.POD,
  };
}

/** RunPodSandbox, CreateContainer, StartContainer; each call and their sum are samples. */
export async function startPod(
  runtime: RuntimeUnderTest,
  options: PodOptions,
  samples: Samples,
  prefix: string,
): Promise<Pod> {
  const { bare } = runtime;
  const config = sandboxConfig(runtime, options);
  const runBytes = methods.runPodSandbox.requestSerialize(RunPodSandboxRequest.fromPartial({ config }));
  const createBytes = methods.createContainer.requestSerialize(
    CreateContainerRequest.fromPartial({ sandboxConfig: config, config: containerConfig(options) }),
  );
  return samples.time(`${prefix} pod start`, async () => {
    const { podSandboxId } = await samples.time(`${prefix} RunPodSandbox`, () =>
      bare.send(methods.runPodSandbox, runBytes),
    );
    const { containerId } = await samples.time(`${prefix} CreateContainer`, () => {
      // Encoded messages that follow each other are one message with the fields of both.
      const idBytes = methods.createContainer.requestSerialize(
        CreateContainerRequest.fromPartial({ podSandboxId }),
      );
      return bare.send(methods.createContainer, Buffer.concat([createBytes, idBytes]));
    });
    await samples.time(`${prefix} StartContainer`, () => bare.ask(methods.startContainer, { containerId }));
    return { podSandboxId, containerId };
  });
}

function containerConfig({ hostNetwork }: PodOptions): DeepPartial<ContainerConfig> {
  return {
    metadata: { name: 'main', attempt: 0 },
    image: { image: IMAGE },
    command: ['sleep', '1000000'],
    envs: [{ key: 'A', value: Buffer.from('b') }],
    logPath: 'main/0.log',
    labels: { app: 'bench' },
    linux: {
      resources: { cpuShares: 256n, memoryLimitInBytes: 64n << 20n, oomScoreAdj: 900n },
      securityContext: {
        namespaceOptions: namespaces(hostNetwork),
        seccomp: { profileType: 0 },
        maskedPaths: ['/proc/kcore', '/proc/keys', '/proc/timer_list', '/sys/firmware'],
        readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
      },
    },
  };
}

export async function execTrue({ bare }: RuntimeUnderTest, { containerId }: Pod): Promise<void> {
  const { exitCode } = await bare.ask(methods.execSync, { containerId, cmd: ['/bin/true'], timeout: 10n });
  if (exitCode !== 0) throw new Error(`true ended with ${exitCode}`);
}

export async function endPod(
  { bare }: RuntimeUnderTest,
  { podSandboxId, containerId }: Pod,
  samples: Samples,
  prefix: string,
): Promise<void> {
  await samples.time(`${prefix} StopContainer`, () =>
    bare.ask(methods.stopContainer, { containerId, timeout: 0n }),
  );
  await samples.time(`${prefix} RemoveContainer`, () => bare.ask(methods.removeContainer, { containerId }));
  await samples.time(`${prefix} StopPodSandbox`, () => bare.ask(methods.stopPodSandbox, { podSandboxId }));
  await samples.time(`${prefix} RemovePodSandbox`, () =>
    bare.ask(methods.removePodSandbox, { podSandboxId }),
  );
}
