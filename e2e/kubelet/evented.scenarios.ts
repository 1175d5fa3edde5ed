import { expect } from 'chai';
import {
  type ContainerEventResponse,
  ContainerEventType,
  ContainerState,
  PodSandboxState,
} from '../../protos/gen/cri/runtime/v1/api.js';
import { connectCri } from '../cri-client.js';
import { eventually } from '../eventually.js';
import type { ImageServer } from '../fixtures/image-server.js';
import {
  type Candidate,
  type ComparedNode,
  containerd,
  hasContainerd,
  podwright,
  startComparedImages,
  withCandidate,
} from './candidates.js';
import { manifest, podWhere } from './cluster.js';
import type { Images } from './node.js';
import { isReady } from './objects.js';

/** What one runtime told about the lives of a few pods, and how long these were to their readiness and to their end. */
interface Told {
  readonly events: readonly (readonly string[])[];
  readonly readySeconds: readonly number[];
  readonly goneSeconds: readonly number[];
}

const lives = 3;

/**
 * With the gate EventedPLEG a kubelet acts upon what the runtime tells, and waits up to five seconds where nothing new is told
 * after its own last look: as a pod ends it does so three times, whatever the runtime is. So it is what is told that must be
 * the same; the times are shown.
 */
describe('events for a kubelet, beside those of containerd', () => {
  let server: ImageServer;
  let images: Images;

  before(async function () {
    if (!(await hasContainerd())) this.skip();
    ({ server, images } = await startComparedImages());
  });
  after(async () => {
    await server?.stop();
  });

  it('tell the same of a pod, in the same order', async function () {
    this.timeout(600_000);
    const own = await follow(podwright('CNI'), server, images);
    const reference = await follow(containerd, server, images);
    for (const [name, { readySeconds, goneSeconds }] of Object.entries({
      Podwright: own,
      containerd: reference,
    }))
      console.log(
        `      ${name.padEnd(12)}s to Ready ${inWords(readySeconds)}, from its deletion to its end ${inWords(goneSeconds)}`,
      );
    for (const events of own.events) expect(events).to.deep.equal(reference.events[0]);
    expect(own.events).to.have.length(lives);
  });
});

const inWords = (seconds: readonly number[]): string => seconds.map((value) => value.toFixed(1)).join(', ');

async function follow(candidate: Candidate, server: ImageServer, images: Images): Promise<Told> {
  const settings = { featureGates: { EventedPLEG: true } };
  return withCandidate({ candidate, server, settings }, async (node) => {
    const seen: ContainerEventResponse[] = [];
    const client = connectCri(node.runtime.socket);
    const abort = new AbortController();
    const limits = { signal: abort.signal, timeoutMs: 600_000 };
    const read = async (): Promise<void> => {
      for await (const event of client.runtime.getContainerEvents({}, limits)) seen.push(event);
    };
    const reading = read().catch((error: unknown) => {
      if (!abort.signal.aborted) throw error;
    });
    try {
      const told: Told = await liveSeveralTimes(node, images, seen);
      const metrics = await node.kubelet.rest.text('/metrics');
      expect(metrics).to.match(/^kubelet_evented_pleg_connection_success_count 1$/m);
      return told;
    } finally {
      abort.abort();
      await reading;
      client.close();
    }
  });
}

async function liveSeveralTimes(
  node: ComparedNode,
  images: Images,
  seen: readonly ContainerEventResponse[],
): Promise<Told> {
  const events: (readonly string[])[] = [];
  const readySeconds: number[] = [];
  const goneSeconds: number[] = [];
  for (let life = 0; life < lives; life++) {
    const name = `life-${life}`;
    const begin = performance.now();
    await node.api.send('POST', '/api/v1/namespaces/default/pods', lifeOf(name, images));
    await podWhere(node.api, { name, isRight: isReady, timeoutMs: 60_000 });
    const ready = performance.now();
    await node.kubectl.run(['delete', 'pod', name, '--timeout=60s']);
    readySeconds.push((ready - begin) / 1000);
    goneSeconds.push((performance.now() - ready) / 1000);
    events.push(
      await eventually(
        async () => eventsOf(name, seen),
        (lines) => lines.at(-1)?.startsWith('pod stopped') === true,
      ),
    );
  }
  return { events, readySeconds, goneSeconds };
}

/** One container before the others, which lives long enough for its start and its end to be told apart. */
function lifeOf(name: string, { busybox }: Images): unknown {
  const of = (container: string, ...command: readonly string[]) => ({
    ...{ name: container, image: busybox, command },
  });
  const initContainers = [of('first', 'sleep', '1')];
  return manifest(name, [of('main', 'sleep', '1000')], { initContainers });
}

/** When a container is removed is not the pod's affair: the kubelet looks for old ones once in a while. */
function eventsOf(name: string, seen: readonly ContainerEventResponse[]): readonly string[] {
  return seen
    .filter(({ podSandboxStatus }) => podSandboxStatus?.metadata?.name === name)
    .filter(({ containerEventType: type }) => type !== ContainerEventType.CONTAINER_DELETED_EVENT)
    .map(inOneLine);
}

/** For example `main started; pod ready; first exited, main running`. */
function inOneLine(event: ContainerEventResponse): string {
  const { containerId, containerEventType, containersStatuses, podSandboxStatus } = event;
  const name = containersStatuses.find(({ id }) => id === containerId)?.metadata?.name ?? 'pod';
  const type = ContainerEventType[containerEventType].replace(/^CONTAINER_(.*)_EVENT$/, '$1');
  const state = PodSandboxState[podSandboxStatus?.state ?? PodSandboxState.UNRECOGNIZED].replace(
    'SANDBOX_',
    '',
  );
  const containers = containersStatuses.map(
    ({ metadata, state: of }) => `${metadata?.name} ${ContainerState[of].replace('CONTAINER_', '')}`,
  );
  return [`${name} ${type}`, `pod ${state}`, containers.sort().join(', ')].join('; ').toLowerCase();
}
