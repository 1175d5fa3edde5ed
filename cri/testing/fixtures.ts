import {
  ContainerConfig,
  LinuxContainerSecurityContext,
  PodSandboxConfig,
} from '../../protos/gen/cri/runtime/v1/api.js';
import type { Digest } from '../../runtime/base/digest.js';
import type { Image } from '../../runtime/image/types.js';
import { configSchema } from '../config-schema.js';
import type { ContainerHost } from '../translate/container.js';
import { type Handler, findHandler } from '../translate/handlers.js';
import { capabilityNames } from '../../runtime/spec/capabilities.js';

/** A host on which nothing is missing but security modules. */
export const testHost: ContainerHost = {
  capabilities: capabilityNames,
  minOomScoreAdj: -1000,
  apparmor: false,
  selinux: false,
  hugetlb: true,
  swap: true,
  cgroupNamespace: true,
};

/** The default handler, as nothing is configured. */
export const testHandler: Handler = findHandler('', '', configSchema.parse({}).runtime);

export function podConfig(change: Parameters<typeof PodSandboxConfig.fromPartial>[0] = {}): PodSandboxConfig {
  return PodSandboxConfig.fromPartial({
    metadata: { name: 'pod', uid: 'uid-1', namespace: 'default', attempt: 0 },
    logDirectory: '/var/log/pods/pod',
    ...change,
  });
}

export function containerConfig(
  change: Parameters<typeof ContainerConfig.fromPartial>[0] = {},
): ContainerConfig {
  return ContainerConfig.fromPartial({
    metadata: { name: 'app', attempt: 0 },
    image: { image: 'docker.io/library/test:1' },
    ...change,
  });
}

/** A container configuration with only a security context. */
export function securityConfig(
  change: Parameters<typeof LinuxContainerSecurityContext.fromPartial>[0],
): ContainerConfig {
  return containerConfig({ linux: { securityContext: LinuxContainerSecurityContext.fromPartial(change) } });
}

export function testImage(config: Partial<Image['config']> = {}): Image {
  const digest = `sha256:${'a'.repeat(64)}` as Digest;
  return {
    id: digest,
    repoTags: ['docker.io/library/test:1'],
    repoDigests: [`docker.io/library/test@sha256:${'b'.repeat(64)}`],
    sizeBytes: 1234n,
    config: {
      os: 'linux',
      architecture: 'amd64',
      user: '',
      env: [],
      entrypoint: ['/bin/app'],
      cmd: ['--serve'],
      workingDir: '',
      volumes: [],
      stopSignal: '',
      labels: {},
      exposedPorts: [],
      created: '',
      ...config,
    },
    layers: [{ diffId: digest, chainId: digest, digest, mediaType: '', size: 1 }],
    pinned: false,
    annotations: {},
  };
}
