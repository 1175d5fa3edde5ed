import type { Container as CriContainer } from '../../protos/gen/cri/runtime/v1/api.js';
import {
  ContainerState,
  type ContainerStatus,
  type ImageSpec,
  type Mount,
} from '../../protos/gen/cri/runtime/v1/api.js';
import type { Container, Exit } from '../../runtime/container/types.js';
import type { Image } from '../../runtime/image/types.js';
import { type ContainerClient, type MountClient, containerClientOf } from './client-record.js';
import { fromResources } from './resources.js';
import { toCriSignal } from './signals.js';
import { fromMappings } from './user-namespace.js';

/** A container being made is not there yet for clients. */
export function isVisible(container: Container): boolean {
  return container.state.phase !== 'creating';
}

export function toCriContainerState(container: Container): ContainerState {
  switch (container.state.phase) {
    case 'creating':
    case 'created':
      return ContainerState.CONTAINER_CREATED;
    case 'running':
    case 'paused':
      return ContainerState.CONTAINER_RUNNING;
    case 'exited':
      return ContainerState.CONTAINER_EXITED;
    case 'removing':
      return container.state.exit === undefined
        ? ContainerState.CONTAINER_UNKNOWN
        : ContainerState.CONTAINER_EXITED;
    case 'unknown':
      return ContainerState.CONTAINER_UNKNOWN;
  }
}

/** A container as ListContainers shows it. */
export function toCriContainer(container: Container): CriContainer {
  const { id, request, createdAtNs } = container;
  const client = containerClientOf(container);
  return {
    id,
    podSandboxId: request.sandboxId,
    metadata: { ...client.metadata },
    image: toImageSpec(client, client.image.image),
    imageRef: request.image.id,
    state: toCriContainerState(container),
    createdAt: createdAtNs,
    labels: { ...client.labels },
    annotations: { ...client.annotations },
    imageId: request.image.id,
  };
}

/** A container as ContainerStatus shows it; `image` is the one it was made from, if it still exists. */
export function toCriContainerStatus(container: Container, image: Image | undefined): ContainerStatus {
  const { id, request, createdAtNs, state, spec } = container;
  const client = containerClientOf(container);
  const times = timesOf(container);
  const process = spec.process;
  return {
    id,
    metadata: { ...client.metadata },
    state: toCriContainerState(container),
    createdAt: createdAtNs,
    ...times,
    ...outcomeOf(state),
    image: toImageSpec(client, image?.repoTags[0] ?? client.image.image),
    imageRef: image?.repoDigests[0] ?? request.image.id,
    imageId: request.image.id,
    labels: { ...client.labels },
    annotations: { ...client.annotations },
    mounts: client.mounts.map(toCriMount),
    logPath: container.logPath ?? '',
    resources: { linux: fromResources(spec.linux?.resources, process?.oomScoreAdj), windows: undefined },
    user: {
      linux: {
        uid: BigInt(process?.user.uid ?? 0),
        gid: BigInt(process?.user.gid ?? 0),
        supplementalGroups: client.supplementalGroups.map(BigInt),
      },
    },
    stopSignal: toCriSignal(request.stopSignal),
  };
}

function toImageSpec({ image }: ContainerClient, name: string): ImageSpec {
  return {
    image: name,
    annotations: { ...image.annotations },
    userSpecifiedImage: image.userSpecifiedImage,
    runtimeHandler: image.runtimeHandler,
    imageRef: '',
  };
}

function toCriMount({ image, ...mount }: MountClient): Mount {
  return {
    ...mount,
    mountOptions: [...mount.mountOptions],
    uidMappings: fromMappings(mount.uidMappings ?? []),
    gidMappings: fromMappings(mount.gidMappings ?? []),
    image:
      image === undefined
        ? undefined
        : {
            image: image.reference,
            imageRef: image.digest,
            annotations: {},
            userSpecifiedImage: '',
            runtimeHandler: '',
          },
    imageSubPath: image?.subPath ?? '',
  };
}

function exitOf({ state }: Container): Exit | undefined {
  return state.phase === 'exited' || state.phase === 'removing' ? state.exit : undefined;
}

function timesOf(container: Container): Pick<ContainerStatus, 'startedAt' | 'finishedAt'> {
  const { state } = container;
  const exit = exitOf(container);
  if (exit !== undefined) return { startedAt: exit.startedAtNs, finishedAt: exit.finishedAtNs };
  return {
    startedAt: state.phase === 'running' || state.phase === 'paused' ? state.startedAtNs : 0n,
    finishedAt: 0n,
  };
}

function outcomeOf(state: Container['state']): Pick<ContainerStatus, 'exitCode' | 'reason' | 'message'> {
  if (state.phase === 'unknown') return { exitCode: 255, reason: 'Unknown', message: state.message };
  const exit = state.phase === 'exited' || state.phase === 'removing' ? state.exit : undefined;
  return { exitCode: exit?.code ?? 0, reason: exit?.reason ?? '', message: exit?.message ?? '' };
}
