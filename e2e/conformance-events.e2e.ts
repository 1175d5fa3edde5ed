import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import {
  type ContainerEventResponse,
  ContainerEventType,
  ContainerState,
  PodSandboxState,
} from '../protos/gen/cri/runtime/v1/api.js';
import {
  type Bed,
  type Pod,
  containerConfig,
  createContainer,
  exitOf,
  hostNetwork,
  openBed,
  patienceMs,
  pidOf,
  removePod,
  runContainer,
  runPod,
} from './bed.js';
import { type CriClient, connectCri } from './cri-client.js';
import { eventually } from './eventually.js';
import { refusal } from './refusal.js';

const {
  CONTAINER_CREATED_EVENT: created,
  CONTAINER_STARTED_EVENT: started,
  CONTAINER_STOPPED_EVENT: stopped,
  CONTAINER_DELETED_EVENT: deleted,
} = ContainerEventType;

interface Follower {
  readonly events: ContainerEventResponse[];
  /** How the stream ended. */
  readonly ended: Promise<{ readonly code: status; readonly details: string }>;
  leave(): void;
  /** Waits for so many of the events about these objects, and returns them. */
  about(ids: readonly string[], count: number): Promise<readonly ContainerEventResponse[]>;
}

/** Follows the events of a daemon and takes them as they come. */
function follow({ runtime }: CriClient): Follower {
  const events: ContainerEventResponse[] = [];
  const abort = new AbortController();
  const read = async (): Promise<void> => {
    const limits = { signal: abort.signal, timeoutMs: 120_000 };
    for await (const event of runtime.getContainerEvents({}, limits)) events.push(event);
  };
  return {
    events,
    ended: refusal(read()),
    leave: () => abort.abort(),
    about: (ids, count) =>
      eventually(
        async () => events.filter(({ containerId }) => ids.includes(containerId)),
        (seen) => seen.length >= count,
        patienceMs,
      ),
  };
}

const summaryOf = (events: readonly ContainerEventResponse[]): string[] =>
  events.map((event) => `${event.containerId} ${ContainerEventType[event.containerEventType]}`);

describe('GetContainerEvents', function () {
  this.timeout(120_000);
  let bed: Bed;
  before(async () => {
    bed = await openBed();
  });
  after(async () => {
    await bed?.end();
  });

  /** A pod and a container from the beginning to the end; the ids of both. */
  const liveOnce = async (name: string): Promise<readonly [podId: string, containerId: string]> => {
    const pod = await runPod(bed, name, hostNetwork);
    const container = await runContainer(bed, pod, containerConfig(bed, 'main', 'exit 3'));
    await exitOf(bed, container.id);
    await bed.daemon.client.runtime.removeContainer({ containerId: container.id });
    await removePod(bed, pod);
    return [pod.id, container.id];
  };

  it('tells every client the life of a pod in order, with the pod as it was at each moment', async () => {
    const followers = [follow(bed.daemon.client), follow(bed.daemon.client)];
    await using own = ownClient(bed);
    followers.push(follow(own.client));
    const [podId, containerId] = await liveOnce('life');
    for (const follower of followers) {
      const events = await follower.about([podId, containerId], 8);
      expect(summaryOf(events)).to.deep.equal([
        `${podId} ${ContainerEventType[created]}`,
        `${podId} ${ContainerEventType[started]}`,
        `${containerId} ${ContainerEventType[created]}`,
        `${containerId} ${ContainerEventType[started]}`,
        `${containerId} ${ContainerEventType[stopped]}`,
        `${containerId} ${ContainerEventType[deleted]}`,
        `${podId} ${ContainerEventType[stopped]}`,
        `${podId} ${ContainerEventType[deleted]}`,
      ]);
      for (const { podSandboxStatus } of events) {
        expect(podSandboxStatus?.metadata).to.include({ uid: 'uid-life', name: 'life', namespace: 'e2e' });
      }
      const states = events.map(({ podSandboxStatus }) => podSandboxStatus?.state);
      const { SANDBOX_READY, SANDBOX_NOTREADY } = PodSandboxState;
      expect(states).to.deep.equal([
        ...Array.from({ length: 6 }, () => SANDBOX_READY),
        ...[SANDBOX_NOTREADY, SANDBOX_NOTREADY],
      ]);
      const containers = events.map(({ containersStatuses }) => containersStatuses.map(({ state }) => state));
      const { CONTAINER_CREATED, CONTAINER_EXITED } = ContainerState;
      expect(containers[2]).to.deep.equal([CONTAINER_CREATED]);
      expect(containers[3]).to.have.lengthOf(1);
      expect(containers[4]).to.deep.equal([CONTAINER_EXITED]);
      expect(events[4]?.containersStatuses[0]).to.include({ id: containerId, exitCode: 3, reason: 'Error' });
      expect(containers[5]).to.deep.equal([]);
      const times = events.map(({ createdAt }) => createdAt);
      expect([...times].sort((a, b) => Number(a - b))).to.deep.equal(times);
      follower.leave();
      expect((await follower.ended).code).to.equal(status.CANCELLED);
    }
  });

  it('says what the status says', async () => {
    const follower = follow(bed.daemon.client);
    const pod = await runPod(bed, 'equal', hostNetwork);
    const container = await runContainer(bed, pod, containerConfig(bed, 'main', 'exec sleep 1000'));
    const [, event] = await follower.about([container.id], 2);
    const { client } = bed.daemon;
    const {
      status: podStatus,
      containersStatuses,
      timestamp,
    } = await client.runtime.podSandboxStatus({ podSandboxId: pod.id });
    expect(event?.podSandboxStatus).to.deep.equal(podStatus);
    expect(event?.containersStatuses).to.deep.equal(containersStatuses);
    // A kubelet takes both, and believes the later one.
    await client.runtime.stopContainer({ containerId: container.id, timeout: 0n });
    const [, , end] = await follower.about([container.id], 3);
    expect(event?.createdAt).to.satisfy((at: bigint) => at < timestamp);
    expect(end?.createdAt).to.satisfy((at: bigint) => at > timestamp);
    follower.leave();
    await removePod(bed, pod);
  });

  it('tells of a container whose command does not exist, and of one that is killed from outside', async () => {
    const follower = follow(bed.daemon.client);
    const pod = await runPod(bed, 'ends', hostNetwork);
    const absent = await createContainer(bed, pod, containerConfig(bed, 'absent', ['/no/such/command']));
    await refusal(bed.daemon.client.runtime.startContainer({ containerId: absent.id }));
    const events = await follower.about([absent.id], 2);
    expect(events.map(({ containerEventType }) => containerEventType)).to.deep.equal([created, stopped]);
    const killed = await runContainer(bed, pod, containerConfig(bed, 'killed', 'exec sleep 1000'));
    process.kill(await pidOf(bed, killed.id), 'SIGKILL');
    const [, , last] = await follower.about([killed.id], 3);
    expect(last?.containerEventType).to.equal(stopped);
    expect(last?.containersStatuses.find(({ id }) => id === killed.id)?.exitCode).to.equal(137);
    follower.leave();
    await removePod(bed, pod);
  });

  it('ends for a client that reads too slowly, which learns how many it missed; others miss none', async () => {
    const fast = follow(bed.daemon.client);
    await using own = ownClient(bed);
    const slow = own.client.runtime.getContainerEvents({}, { timeoutMs: 120_000 })[Symbol.asyncIterator]();
    const first = slow.next();
    // Events of this pod are large, so that few of them fill what is kept for a client.
    const annotations = { large: 'x'.repeat(250_000) };
    const pod = await runPod(bed, 'slow', { ...hostNetwork, annotations });
    await first;
    const ids = [pod.id];
    for (let index = 0; index < 20; index += 1) {
      const config = containerConfig(bed, `c${index}`, ['true']);
      const { id: containerId } = await createContainer(bed, pod, config);
      await bed.daemon.client.runtime.removeContainer({ containerId });
      ids.push(containerId);
    }
    const all = 2 + 20 * 3;
    expect(await fast.about(ids, all)).to.have.lengthOf(all);

    let read = 1;
    const drain = async (): Promise<void> => {
      while ((await slow.next()).done !== true) read += 1;
    };
    const { code, details } = await refusal(drain());
    expect(status[code]).to.equal('RESOURCE_EXHAUSTED');
    const missed = Number(/missed (\d+) of them/.exec(details)?.[1]);
    expect(read + missed, details).to.equal(all);
    fast.leave();
    await removePod(bed, pod);
  });

  it('goes on for the others when clients leave', async () => {
    const staying = follow(bed.daemon.client);
    const leaving = Array.from({ length: 50 }, () => follow(bed.daemon.client));
    const first = await liveOnce('before');
    for (const follower of leaving) expect(await follower.about(first, 8)).to.have.lengthOf(8);
    for (const follower of leaving) follower.leave();
    for (const { ended } of leaving) expect((await ended).code).to.equal(status.CANCELLED);
    const second = await liveOnce('after');
    expect(await staying.about(second, 8)).to.have.lengthOf(8);
    staying.leave();
  });

  it('ends with the daemon, at once, and tells the next client what ended meanwhile', async () => {
    const pod: Pod = await runPod(bed, 'down', hostNetwork);
    const dying = await runContainer(bed, pod, containerConfig(bed, 'dying', 'exec sleep 1000'));
    const living = await runContainer(bed, pod, containerConfig(bed, 'living', 'exec sleep 1000'));
    const pid = await pidOf(bed, dying.id);
    const follower = follow(bed.daemon.client);
    const begin = performance.now();
    await bed.daemon.stop();
    expect(performance.now() - begin).to.be.below(8000);
    expect(status[(await follower.ended).code]).to.equal('UNAVAILABLE');
    process.kill(pid, 'SIGKILL');
    await bed.daemon.start();
    // Each client of the new daemon is told: which of them was there before nobody knows.
    for (const next of [follow(bed.daemon.client), follow(bed.daemon.client)]) {
      const [event] = await next.about([dying.id], 1);
      expect(event?.containerEventType).to.equal(stopped);
      expect(event?.containersStatuses.find(({ id }) => id === dying.id)?.exitCode).to.equal(137);
      expect(summaryOf(next.events).filter((line) => line.startsWith(living.id))).to.deep.equal([]);
      next.leave();
      await next.ended;
    }
    await removePod(bed, pod);
    const later = follow(bed.daemon.client);
    const marker = await liveOnce('marker');
    await later.about(marker, 8);
    expect(summaryOf(later.events).filter((line) => line.startsWith(dying.id))).to.deep.equal([]);
    later.leave();
  });
});

/** A connection that nobody else waits for. */
function ownClient(bed: Bed): AsyncDisposable & { readonly client: CriClient } {
  const client = connectCri(bed.daemon.socket);
  return { client, [Symbol.asyncDispose]: async () => client.close() };
}
