import {
  Container as CriContainer,
  ContainerStats,
  Image as CriImage,
  PodSandbox as CriSandbox,
  PodSandboxStats,
} from '../protos/gen/cri/runtime/v1/api.js';
import type { Container } from '../runtime/container/types.js';
import type { Image } from '../runtime/image/types.js';
import type { Sandbox } from '../runtime/sandbox/types.js';
import { listEncoder } from './encoded-list.js';
import { toCriContainer } from './translate/container-answer.js';
import { toCriImage } from './translate/image-answer.js';
import { toCriSandbox } from './translate/sandbox-answer.js';

/** Each object is encoded once per state, for the list and for its stream alike. */
export const containerList = listEncoder((container: Container) =>
  CriContainer.encode(toCriContainer(container)).finish(),
);

export const sandboxList = listEncoder((sandbox: Sandbox) =>
  CriSandbox.encode(toCriSandbox(sandbox)).finish(),
);

export const imageList = listEncoder((image: Image) => CriImage.encode(toCriImage(image)).finish());

export const containerStatsList = listEncoder((stats: ContainerStats) =>
  ContainerStats.encode(stats).finish(),
);

export const sandboxStatsList = listEncoder((stats: PodSandboxStats) =>
  PodSandboxStats.encode(stats).finish(),
);
