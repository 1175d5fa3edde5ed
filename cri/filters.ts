import {
  type ContainerFilter,
  type ContainerStatsFilter,
  type ImageFilter,
  type PodSandboxFilter,
  type PodSandboxStatsFilter,
} from '../protos/gen/cri/runtime/v1/api.js';
import type { Container } from '../runtime/container/types.js';
import type { Image } from '../runtime/image/types.js';
import type { Sandbox } from '../runtime/sandbox/types.js';
import type { Runtime } from '../runtime/index.js';
import { containerClientOf, podClientOf } from './translate/client-record.js';
import { isVisible, toCriContainerState } from './translate/container-answer.js';
import { isVisibleSandbox, toCriSandboxState } from './translate/sandbox-answer.js';

type Labels = Readonly<Record<string, string>>;

/**
 * The containers a filter selects. An id is a full one or an unambiguous prefix; one that is neither selects nothing.
 */
export function selectContainers(
  runtime: Runtime,
  filter: ContainerFilter | ContainerStatsFilter | undefined,
): readonly Container[] {
  if (filter === undefined) return runtime.containers.list().filter(isVisible);
  const sandboxId =
    filter.podSandboxId === '' ? undefined : (runtime.sandboxes.find(filter.podSandboxId)?.id ?? '');
  const state = 'state' in filter ? filter.state?.state : undefined;
  return candidates(runtime.containers, filter.id).filter(
    (container) =>
      isVisible(container) &&
      (sandboxId === undefined || container.request.sandboxId === sandboxId) &&
      (state === undefined || toCriContainerState(container) === state) &&
      hasLabels(filter.labelSelector, () => containerClientOf(container).labels),
  );
}

/** The sandboxes a filter selects; ids as with containers. */
export function selectSandboxes(
  runtime: Runtime,
  filter: PodSandboxFilter | PodSandboxStatsFilter | undefined,
): readonly Sandbox[] {
  if (filter === undefined) return runtime.sandboxes.list().filter(isVisibleSandbox);
  const state = 'state' in filter ? filter.state?.state : undefined;
  return candidates(runtime.sandboxes, filter.id).filter(
    (sandbox) =>
      isVisibleSandbox(sandbox) &&
      (state === undefined || toCriSandboxState(sandbox) === state) &&
      hasLabels(filter.labelSelector, () => podClientOf(sandbox).labels),
  );
}

/** All images, or the one that a filter names. */
export function selectImages(runtime: Runtime, filter: ImageFilter | undefined): readonly Image[] {
  const reference = filter?.image?.image ?? '';
  if (reference === '') return runtime.images.list();
  const image = runtime.images.get(reference);
  return image === undefined ? [] : [image];
}

interface Objects<T> {
  find(idOrPrefix: string): T | undefined;
  list(): readonly T[];
}

function candidates<T>(objects: Objects<T>, id: string): readonly T[] {
  if (id === '') return objects.list();
  const found = objects.find(id);
  return found === undefined ? [] : [found];
}

function hasLabels(selector: Labels, labels: () => Labels): boolean {
  const wanted = Object.entries(selector);
  if (wanted.length === 0) return true;
  const present = labels();
  return wanted.every(([key, value]) => Object.hasOwn(present, key) && present[key] === value);
}
