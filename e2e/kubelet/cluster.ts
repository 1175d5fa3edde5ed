import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startControlPlane, type ControlPlane } from './control-plane.js';
import { makeKubectl, type Kubectl } from './kubectl.js';
import { startNode, type Images, type Node } from './node.js';
import { isReady, podSpec, type Condition, type ContainerSpec, type Pod, type PodSpec } from './objects.js';
import { nodeName } from './places.js';
import type { Rest } from './rest.js';

/** A control plane and one node, and the calls that nearly every scenario makes. Pods are made in namespace "default". */
export interface Cluster {
  readonly node: Node;
  readonly controlPlane: ControlPlane;
  readonly api: Rest;
  readonly kubectl: Kubectl;
  readonly images: Images;
  /** A container of busybox that runs a script. */
  shell(name: string, script: string, more?: Readonly<Record<string, unknown>>): ContainerSpec;
  create(
    name: string,
    containers: readonly ContainerSpec[],
    more?: Omit<PodSpec, 'containers'>,
  ): Promise<Pod>;
  /** Waits until the pod is as wanted, and returns it; it need not exist yet. */
  pod(name: string, isRight: (pod: Pod) => boolean, timeoutMs?: number): Promise<Pod>;
  /** Creates it and waits until it is ready. */
  run(name: string, containers: readonly ContainerSpec[], more?: Omit<PodSpec, 'containers'>): Promise<Pod>;
  /** Deletes it and waits until it is gone. */
  remove(name: string): Promise<void>;
  /** Deletes every object that scenarios make, waits until all pods are gone, and ends everything. */
  end(): Promise<void>;
}

const patienceMs = 60_000;
const podsPath = '/api/v1/namespaces/default/pods';

export async function startCluster(): Promise<Cluster> {
  const directory = await mkdtemp(path.join(tmpdir(), 'pw-cluster-'));
  const controlPlane = await startControlPlane(directory);
  const end = async (): Promise<void> => {
    await controlPlane.end();
    if (process.env['KEEP'] === '1') console.log(`kept ${directory}`);
    else await rm(directory, { recursive: true, force: true });
  };
  try {
    const node = await startNode({ kubeconfig: controlPlane.kubeconfig });
    await nodeReady(controlPlane.api);
    return makeCluster(controlPlane, node, end);
  } catch (error) {
    await end();
    throw error;
  }
}

function makeCluster(controlPlane: ControlPlane, node: Node, end: () => Promise<void>): Cluster {
  const { api, kubeconfig } = controlPlane;
  const kubectl = makeKubectl(kubeconfig);
  const self: Cluster = {
    ...{ node, controlPlane, api, kubectl, images: node.images },
    shell: (name, script, more = {}) => ({
      ...{ name, image: node.images.busybox, command: ['sh', '-c', script] },
      ...more,
    }),
    create: (name, containers, more) => api.send<Pod>('POST', podsPath, manifest(name, containers, more)),
    pod: (name, isRight, timeoutMs = patienceMs) => podWhere(api, { name, isRight, timeoutMs }),
    run: async (name, containers, more) => {
      await self.create(name, containers, more);
      return self.pod(name, isReady);
    },
    remove: async (name) => {
      await kubectl.run(['delete', 'pod', name, '--timeout', `${patienceMs / 1000}s`]);
    },
    end: async () => {
      try {
        const kinds = 'deployments,daemonsets,statefulsets,jobs,pods';
        await kubectl.run(['delete', kinds, '--all', '--wait', '--grace-period=1', '--timeout=60s']);
        await node.end();
      } finally {
        await end();
      }
    },
  };
  return self;
}

export function manifest(
  name: string,
  containers: readonly ContainerSpec[],
  more: Omit<PodSpec, 'containers'> = {},
): unknown {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { scenario: name } },
    spec: podSpec(containers, more),
  };
}

/** The node has said that it is ready, and takes pods. */
export async function nodeReady(api: Rest): Promise<void> {
  interface NodeObject {
    readonly spec: { readonly taints?: readonly unknown[] };
    readonly status: { readonly conditions?: readonly Condition[] };
  }
  const isRight = ({ spec, status }: NodeObject): boolean =>
    (spec.taints ?? []).length === 0 &&
    (status.conditions ?? []).some((condition) => condition.type === 'Ready' && condition.status === 'True');
  await whenObject<NodeObject>(api, {
    path: '/api/v1/nodes',
    name: nodeName,
    isRight,
    timeoutMs: patienceMs,
  });
}

interface Wanted<T> {
  readonly name: string;
  readonly isRight: (object: T) => boolean;
  readonly timeoutMs: number;
}

export async function podWhere(api: Rest, wanted: Wanted<Pod>): Promise<Pod> {
  return whenObject(api, { path: podsPath, ...wanted });
}

/**
 * Watches an object until it is right.
 *
 * @throws Error with how it was last
 */
async function whenObject<T extends { readonly status: unknown }>(
  api: Rest,
  { path: list, name, isRight, timeoutMs }: Wanted<T> & { readonly path: string },
): Promise<T> {
  const signal = AbortSignal.timeout(timeoutMs);
  let last: T | undefined;
  try {
    for await (const { type, object } of api.watch<T>(
      `${list}?watch=1&fieldSelector=metadata.name=${name}`,
      signal,
    )) {
      if (type !== 'DELETED' && isRight(object)) return object;
      last = object;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  const seen = last === undefined ? 'it does not exist' : JSON.stringify(last.status, undefined, 1);
  throw new Error(`${name} did not become as wanted within ${timeoutMs} ms: ${seen}`);
}
