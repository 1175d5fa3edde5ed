import type * as api from '../../protos/gen/cri/runtime/v1/api.js';
import type { Container } from '../../runtime/container/types.js';
import type { Runtime } from '../../runtime/index.js';
import type { Sandbox } from '../../runtime/sandbox/types.js';
import { containerClientOf, podClientOf } from '../translate/client-record.js';
import type { Subject } from './entry.js';

type PodOf = NonNullable<Subject['pod']>;

export function subjectOfSandbox(sandbox: Sandbox): Subject {
  const { name, namespace, uid, attempt } = podClientOf(sandbox).metadata;
  return { kind: 'pod', id: sandbox.id, name, attempt, pod: { id: sandbox.id, name, namespace, uid } };
}

export function subjectOfContainer(container: Container, runtime: Runtime): Subject {
  const { metadata, image } = containerClientOf(container);
  const sandbox = runtime.sandboxes.find(container.request.sandboxId);
  return {
    kind: 'container',
    id: container.id,
    name: metadata.name,
    attempt: metadata.attempt,
    pod:
      sandbox === undefined
        ? { id: container.request.sandboxId, name: '', namespace: '', uid: '' }
        : subjectOfSandbox(sandbox).pod,
    image: image.userSpecifiedImage === '' ? image.image : image.userSpecifiedImage,
    log: container.logPath,
  };
}

/** The pod that a RunPodSandbox asks for. */
export function subjectOfPodRequest(
  { config }: api.RunPodSandboxRequest,
  response: Partial<api.RunPodSandboxResponse> | undefined,
): Subject | undefined {
  const pod = podOf(config, response?.podSandboxId ?? '');
  if (pod === undefined) return undefined;
  return { kind: 'pod', id: pod.id, name: pod.name, attempt: config?.metadata?.attempt ?? 0, pod };
}

/** The container that a CreateContainer asks for. */
export function subjectOfContainerRequest(
  { podSandboxId, config, sandboxConfig }: api.CreateContainerRequest,
  runtime: Runtime,
): Subject | undefined {
  if (config?.metadata === undefined) return undefined;
  const sandbox = podSandboxId === '' ? undefined : runtime.sandboxes.find(podSandboxId);
  return {
    kind: 'container',
    id: '',
    name: config.metadata.name,
    attempt: config.metadata.attempt,
    pod: sandbox === undefined ? podOf(sandboxConfig, podSandboxId) : subjectOfSandbox(sandbox).pod,
    image: config.image?.userSpecifiedImage || config.image?.image,
  };
}

/** The image of a PullImage or RemoveImage. */
export function subjectOfImage(request: Partial<api.PullImageRequest>): Subject | undefined {
  const name = request.image?.image ?? '';
  if (name === '') return undefined;
  return { kind: 'image', id: '', name, attempt: 0, pod: podOf(request.sandboxConfig, '') };
}

function podOf(config: api.PodSandboxConfig | undefined, id: string): PodOf | undefined {
  if (config?.metadata === undefined) return undefined;
  const { name, namespace, uid } = config.metadata;
  return { id, name, namespace, uid };
}
