import { expect } from 'chai';
import { ContainerEventResponse, ContainerEventType } from '../../protos/gen/cri/runtime/v1/api.js';
import { Listeners } from '../../runtime/base/listeners.js';
import { silentLogger } from '../../runtime/base/logger.js';
import type { Container, ContainerChange } from '../../runtime/container/types.js';
import type { Sandbox, SandboxChange } from '../../runtime/sandbox/types.js';
import { openInMemoryRuntime } from '../testing/in-memory-runtime.js';
import type { ContainerClient, PodClient } from '../translate/client-record.js';
import { ContainerEvents } from './container-events.js';
import type { QueueLimits } from './event-queue.js';

const pod: PodClient = {
  version: 1,
  metadata: { name: 'pod', namespace: 'default', uid: 'uid-1', attempt: 0 },
  labels: {},
  annotations: {},
  logDirectory: '',
  privileged: false,
};

const workload: ContainerClient = {
  version: 1,
  metadata: { name: 'app', attempt: 0 },
  labels: {},
  annotations: {},
  image: { image: 'test', annotations: {}, userSpecifiedImage: '', runtimeHandler: '' },
  mounts: [],
  supplementalGroups: [],
};

/** A node of one pod that is told what happens, and tells it on. */
async function openNode(limits?: QueueLimits) {
  const runtime = openInMemoryRuntime();
  const ofContainers = new Listeners<ContainerChange>();
  const ofSandboxes = new Listeners<SandboxChange>();
  const objects = {
    images: runtime.images,
    containers: {
      ...runtime.containers,
      subscribe: (listener: (change: ContainerChange) => void) => ofContainers.subscribe(listener),
    },
    sandboxes: {
      ...runtime.sandboxes,
      subscribe: (listener: (change: SandboxChange) => void) => ofSandboxes.subscribe(listener),
    },
  };
  const signal = new AbortController().signal;
  const request = { client: pod, handler: '', ...podParts } as never;
  // The runtime in memory counts ids: a sandbox more, and the container has one of its own.
  await runtime.sandboxes.run(request, signal);
  const sandbox = await runtime.sandboxes.run(request, signal);
  const container = await runtime.containers.create(
    {
      client: workload,
      sandboxId: sandbox.id,
      spec: {},
      image: { id: 'x', chainId: 'y' },
      stopSignal: 15,
    } as never,
    signal,
  );
  const events = new ContainerEvents(silentLogger, limits);
  events.observe(objects);
  return {
    events,
    sandbox,
    container,
    runtime,
    follow: (abort = new AbortController()) => events.follow(objects, abort.signal),
    container_: (kind: ContainerChange['kind'], value: Container = container) =>
      ofContainers.emit({ kind, container: value }),
    sandbox_: (kind: SandboxChange['kind'], value: Sandbox = sandbox) =>
      ofSandboxes.emit({ kind, sandbox: value }),
  };
}

const podParts = { namespaces: { network: 'pod', pid: 'container', ipc: 'pod' } };

const { CONTAINER_CREATED_EVENT, CONTAINER_STARTED_EVENT, CONTAINER_STOPPED_EVENT, CONTAINER_DELETED_EVENT } =
  ContainerEventType;

async function take(stream: AsyncGenerator<Buffer>, count: number): Promise<ContainerEventResponse[]> {
  const taken: ContainerEventResponse[] = [];
  while (taken.length < count) {
    const next = await stream.next();
    if (next.done === true) break;
    taken.push(ContainerEventResponse.decode(next.value));
  }
  return taken;
}

async function failureOf(work: Promise<unknown>): Promise<Error> {
  try {
    await work;
  } catch (error) {
    return error as Error;
  }
  throw new Error('it did not fail');
}

describe('container events', () => {
  it('tell each client what happens, in order, with the pod as it is', async () => {
    const node = await openNode();
    const streams = [node.follow(), node.follow()];
    const taken = streams.map((stream) => take(stream, 7));
    node.sandbox_('ready');
    node.container_('created');
    node.container_('started');
    node.container_('changed');
    node.container_('stopped');
    node.container_('removed');
    node.sandbox_('notready');
    for (const received of await Promise.all(taken)) {
      expect(received.map((event) => [event.containerId, event.containerEventType])).to.deep.equal([
        [node.sandbox.id, CONTAINER_CREATED_EVENT],
        [node.sandbox.id, CONTAINER_STARTED_EVENT],
        [node.container.id, CONTAINER_CREATED_EVENT],
        [node.container.id, CONTAINER_STARTED_EVENT],
        [node.container.id, CONTAINER_STOPPED_EVENT],
        [node.container.id, CONTAINER_DELETED_EVENT],
        [node.sandbox.id, CONTAINER_STOPPED_EVENT],
      ]);
      for (const { podSandboxStatus, containersStatuses } of received) {
        expect(podSandboxStatus?.metadata?.uid).to.equal('uid-1');
        expect(containersStatuses.map(({ id }) => id)).to.deep.equal([node.container.id]);
      }
      const times = received.map(({ createdAt }) => createdAt);
      expect(times.every((time, index) => index === 0 || time > (times[index - 1] ?? 0n))).to.equal(true);
    }
  });

  it('of a sandbox that is gone tell what it was', async () => {
    const node = await openNode();
    const taken = take(node.follow(), 1);
    await node.runtime.containers.remove(node.container.id, new AbortController().signal);
    await node.runtime.sandboxes.remove(node.sandbox.id, new AbortController().signal);
    node.sandbox_('removed', { ...node.sandbox, state: { phase: 'removing' } });
    const [event] = await taken;
    expect(event).to.include({
      containerId: node.sandbox.id,
      containerEventType: CONTAINER_DELETED_EVENT,
    });
    expect(event?.podSandboxStatus?.metadata?.uid).to.equal('uid-1');
    expect(event?.podSandboxStatus?.state).to.equal(1);
    expect(event?.containersStatuses).to.deep.equal([]);
  });

  it('end for the client that is too slow, which is told how many it missed; the others get all', async () => {
    const node = await openNode({ events: 10, bytes: 1 << 20 });
    const slow = node.follow();
    const fast = node.follow();
    const first = [take(slow, 1), take(fast, 1)];
    node.container_('created');
    await Promise.all(first);
    for (let round = 0; round < 50; round += 1) {
      const next = take(fast, 1);
      node.container_('started');
      expect(await next).to.have.lengthOf(1);
    }
    const error = await failureOf(slow.next());
    expect(error).to.include({ code: 'ResourceExhausted' });
    expect(error.message).to.contain('missed 50 of them');
    expect((await slow.next()).done).to.equal(true);
  });

  it('are limited by their bytes, too', async () => {
    const node = await openNode({ events: 1000, bytes: 600 });
    const slow = node.follow();
    const first = take(slow, 1);
    node.container_('created');
    await first;
    for (let round = 0; round < 20; round += 1) node.container_('started');
    expect((await failureOf(slow.next())).message).to.contain('missed 20 of them');
  });

  it('end where the client leaves', async () => {
    const node = await openNode();
    const abort = new AbortController();
    const stream = node.follow(abort);
    const waiting = failureOf(stream.next());
    abort.abort(new Error('gone'));
    expect((await waiting).message).to.equal('gone');
    expect((await stream.next()).done).to.equal(true);
  });

  it('give what there is, and end, when the daemon does', async () => {
    const node = await openNode();
    const stream = node.follow();
    const first = take(stream, 1);
    node.container_('created');
    await first;
    node.container_('started');
    node.events.close();
    expect(await take(stream, 1)).to.have.lengthOf(1);
    expect(await failureOf(stream.next())).to.include({ code: 'Unavailable' });
    expect(await failureOf(node.follow().next())).to.include({ code: 'Unavailable' });
  });

  it('of what ended before the first client came are told to every client, while it is there', async () => {
    const node = await openNode();
    node.container_('stopped');
    node.sandbox_('notready');
    for (let client = 0; client < 2; client += 1) {
      const received = await take(node.follow(), 2);
      expect(received.map((event) => [event.containerId, event.containerEventType])).to.deep.equal([
        [node.container.id, CONTAINER_STOPPED_EVENT],
        [node.sandbox.id, CONTAINER_STOPPED_EVENT],
      ]);
    }
    node.container_('removed');
    const [event] = await take(node.follow(), 1);
    expect(event?.containerId).to.equal(node.sandbox.id);
  });
});
