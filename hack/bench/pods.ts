import type { PodSandboxConfig } from '../../protos/gen/cri/runtime/v1/api.js';
import { NamespaceMode } from '../../protos/gen/cri/runtime/v1/api.js';
import type { RuntimeUnderTest } from './runtimes.js';
import type { Samples } from './samples.js';
import type { DeepPartial } from '../../protos/gen/cri/runtime/v1/api.js';

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
  runtime: RuntimeUnderTest,
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
  const { runtime: cri } = runtime.client;
  const config = sandboxConfig(runtime, options);
  return samples.time(`${prefix} pod start`, async () => {
    const { podSandboxId } = await samples.time(`${prefix} RunPodSandbox`, () =>
      cri.runPodSandbox({ config }),
    );
    const { containerId } = await samples.time(`${prefix} CreateContainer`, () =>
      cri.createContainer({
        podSandboxId,
        sandboxConfig: config,
        config: {
          metadata: { name: 'main', attempt: 0 },
          image: { image: IMAGE },
          command: ['sleep', '1000000'],
          envs: [{ key: 'A', value: Buffer.from('b') }],
          logPath: 'main/0.log',
          labels: { app: 'bench' },
          linux: {
            resources: { cpuShares: 256n, memoryLimitInBytes: 64n << 20n, oomScoreAdj: 900n },
            securityContext: {
              namespaceOptions: namespaces(options.hostNetwork),
              seccomp: { profileType: 0 },
              maskedPaths: ['/proc/kcore', '/proc/keys', '/proc/timer_list', '/sys/firmware'],
              readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
            },
          },
        },
      }),
    );
    await samples.time(`${prefix} StartContainer`, () => cri.startContainer({ containerId }));
    return { podSandboxId, containerId };
  });
}

export async function endPod(
  runtime: RuntimeUnderTest,
  pod: Pod,
  samples: Samples,
  prefix: string,
): Promise<void> {
  const { runtime: cri } = runtime.client;
  const { podSandboxId, containerId } = pod;
  await samples.time(`${prefix} StopContainer`, () => cri.stopContainer({ containerId, timeout: 0n }));
  await samples.time(`${prefix} RemoveContainer`, () => cri.removeContainer({ containerId }));
  await samples.time(`${prefix} StopPodSandbox`, () => cri.stopPodSandbox({ podSandboxId }));
  await samples.time(`${prefix} RemovePodSandbox`, () => cri.removePodSandbox({ podSandboxId }));
}
