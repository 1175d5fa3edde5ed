import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { CgroupDriver, ContainerState, PodSandboxState } from '../protos/gen/cri/runtime/v1/api.js';
import type * as api from '../protos/gen/cri/runtime/v1/api.js';
import {
  type Bed,
  type Pod,
  type Workload,
  containerConfig,
  createContainer,
  hostNetwork,
  openBed,
  runContainer,
  runPod,
} from './bed.js';
import { buildBusyboxImage } from './fixtures/busybox-image.js';
import { refusal } from './refusal.js';

/** Annotations that make an entry of a list large, so that few of them need several messages. */
const large = { annotations: { large: 'x'.repeat(30_000) } };

/** What critest never calls: the streamed lists, and the figures of sandboxes. */
describe('what no other suite asks for', function () {
  this.timeout(120_000);
  let bed: Bed;
  let pods: readonly Pod[];
  let running: readonly Workload[];

  before(async () => {
    bed = await openBed();
    const labelled = (index: number) => ({ ...hostNetwork, ...large, labels: { number: String(index) } });
    pods = await Promise.all([0, 1, 2].map((index) => runPod(bed, `pod${index}`, labelled(index))));
    const [pod] = pods;
    if (pod === undefined) throw new Error('no pod');
    const config = (name: string, command: string) =>
      containerConfig(bed, name, command, { ...large, labels: { name } });
    running = await Promise.all(
      [0, 1, 2, 3].map((index) => runContainer(bed, pod, config(`run${index}`, 'exec sleep 1000'))),
    );
    for (let index = 0; index < 8; index += 1) await createContainer(bed, pod, config(`new${index}`, 'true'));
    await bed.daemon.client.runtime.stopPodSandbox({ podSandboxId: pods[2]?.id ?? '' });
    const image = await buildBusyboxImage();
    for (const name of ['one', 'two']) {
      await bed.daemon.client.image.pullImage({ image: { image: bed.serve(name, image) } });
    }
  });
  after(async () => {
    await bed?.end();
  });

  /** All messages of a stream. */
  const collect = async <T>(messages: AsyncIterable<T>): Promise<T[]> => {
    const all: T[] = [];
    for await (const message of messages) all.push(message);
    return all;
  };

  it('StreamContainers has what ListContainers has, for each filter, in several messages', async () => {
    const { runtime } = bed.daemon.client;
    const [first] = running;
    const filters: readonly api.DeepPartial<api.ContainerFilter>[] = [
      {},
      { id: first?.id ?? '' },
      { id: (first?.id ?? '').slice(0, 12) },
      { id: 'no such id' },
      { podSandboxId: pods[0]?.id ?? '' },
      { podSandboxId: pods[1]?.id ?? '' },
      { state: { state: ContainerState.CONTAINER_RUNNING } },
      { state: { state: ContainerState.CONTAINER_CREATED }, labelSelector: { name: 'new3' } },
      { labelSelector: { name: 'none' } },
    ];
    for (const filter of [undefined, ...filters]) {
      const request = filter === undefined ? {} : { filter };
      const messages = await collect(runtime.streamContainers(request));
      const { containers } = await runtime.listContainers(request);
      expect(messages.flatMap((message) => message.containers)).to.deep.equal(containers);
      expect(messages.every((message) => message.containers.length > 0)).to.equal(true);
    }
    const all = await collect(runtime.streamContainers());
    expect(all.flatMap(({ containers }) => containers)).to.have.lengthOf(12);
    expect(all.length).to.be.at.least(5);
  });

  it('StreamPodSandboxes has what ListPodSandbox has', async () => {
    const { runtime } = bed.daemon.client;
    for (const filter of [
      undefined,
      { id: pods[1]?.id ?? '' },
      { state: { state: PodSandboxState.SANDBOX_READY } },
      { state: { state: PodSandboxState.SANDBOX_NOTREADY } },
      { labelSelector: { number: '1' } },
    ]) {
      const request = filter === undefined ? {} : { filter };
      const messages = await collect(runtime.streamPodSandboxes(request));
      const { items } = await runtime.listPodSandbox(request);
      expect(messages.flatMap((message) => message.podSandboxes)).to.deep.equal(items);
    }
    const all = await collect(runtime.streamPodSandboxes());
    expect(all.map(({ podSandboxes }) => podSandboxes.length)).to.deep.equal([2, 1]);
  });

  it('StreamImages has what ListImages has', async () => {
    const { image } = bed.daemon.client;
    for (const request of [
      {},
      { filter: { image: { image: bed.image } } },
      { filter: { image: { image: 'x' } } },
    ]) {
      const messages = await collect(image.streamImages(request));
      const { images } = await image.listImages(request);
      expect(messages.flatMap((message) => message.images)).to.deep.equal(images);
    }
  });

  it('StreamContainerStats has the containers of ListContainerStats, with figures', async () => {
    const { runtime } = bed.daemon.client;
    for (const filter of [
      undefined,
      { id: running[1]?.id ?? '' },
      { podSandboxId: pods[0]?.id ?? '' },
      { labelSelector: { name: 'run2' } },
      { labelSelector: { name: 'none' } },
    ]) {
      const request = filter === undefined ? {} : { filter };
      const messages = await collect(runtime.streamContainerStats(request));
      const streamed = messages.flatMap(({ containerStats }) => containerStats);
      const { stats } = await runtime.listContainerStats(request);
      expect(streamed.map(({ attributes }) => attributes)).to.deep.equal(
        stats.map(({ attributes }) => attributes),
      );
      for (const { memory } of streamed) expect(memory?.usageBytes?.value).to.be.a('bigint');
    }
    expect((await collect(runtime.streamContainerStats())).length).to.be.at.least(5);
  });

  it('StreamPodSandboxStats has the sandboxes of ListPodSandboxStats, and those PodSandboxStats has', async () => {
    const { runtime } = bed.daemon.client;
    for (const filter of [undefined, { id: pods[0]?.id ?? '' }, { labelSelector: { number: '1' } }]) {
      const request = filter === undefined ? {} : { filter };
      const messages = await collect(runtime.streamPodSandboxStats(request));
      const streamed = messages.flatMap(({ podSandboxStats }) => podSandboxStats);
      const { stats } = await runtime.listPodSandboxStats(request);
      expect(streamed.map(({ attributes }) => attributes)).to.deep.equal(
        stats.map(({ attributes }) => attributes),
      );
      for (const { attributes, linux } of streamed) {
        const one = await runtime.podSandboxStats({ podSandboxId: attributes?.id ?? '' });
        expect(one.stats?.attributes).to.deep.equal(attributes);
        const idsOf = (figures: typeof linux) =>
          figures?.containers.map((stats) => stats.attributes?.id).sort();
        expect(idsOf(one.stats?.linux)).to.deep.equal(idsOf(linux));
      }
    }
    // The stopped one uses nothing.
    const { stats } = await runtime.listPodSandboxStats();
    expect(stats.map(({ attributes }) => attributes?.id).sort()).to.deep.equal(
      [pods[0]?.id, pods[1]?.id].sort(),
    );
  });

  it('PodSandboxStats tells the use of the pod and of each of its containers', async () => {
    const { runtime } = bed.daemon.client;
    const podSandboxId = pods[0]?.id ?? '';
    const { stats } = await runtime.podSandboxStats({ podSandboxId });
    const { cpu, memory, process, containers = [] } = stats?.linux ?? {};
    expect(stats?.attributes?.metadata).to.include({ name: 'pod0', namespace: 'e2e', uid: 'uid-pod0' });
    expect(cpu?.usageCoreNanoSeconds?.value).to.satisfy((value: bigint) => value > 0n);
    expect(memory?.workingSetBytes?.value).to.satisfy((value: bigint) => value > 0n);
    // The pause process and four sleeping shells at least, and what waits in the created containers.
    if (process !== undefined) expect(Number(process.processCount?.value)).to.be.at.least(5);
    const ids = containers.map(({ attributes }) => attributes?.id);
    for (const { id } of running) expect(ids).to.include(id);
    const prefix = await runtime.podSandboxStats({ podSandboxId: podSandboxId.slice(0, 12) });
    expect(prefix.stats?.attributes?.id).to.equal(podSandboxId);
    for (const [id, code] of [
      ['0123456789ab', 'NOT_FOUND'],
      ['', 'INVALID_ARGUMENT'],
    ] as const) {
      const refused = await refusal(runtime.podSandboxStats({ podSandboxId: id }));
      expect(status[refused.code]).to.equal(code);
    }
  });

  it('a stream that its client leaves ends, and the daemon answers on', async () => {
    const { runtime } = bed.daemon.client;
    const abort = new AbortController();
    const readSome = async (): Promise<void> => {
      for await (const message of runtime.streamContainers({}, { signal: abort.signal })) {
        expect(message.containers).not.to.have.lengthOf(0);
        abort.abort();
      }
    };
    expect((await refusal(readSome())).code).to.equal(status.CANCELLED);
    expect((await runtime.listContainers()).containers).to.have.lengthOf(12);
  });

  it('RuntimeConfig names the cgroup driver that the kubelet must use as well', async () => {
    const { linux } = await bed.daemon.client.runtime.runtimeConfig();
    expect(linux?.cgroupDriver).to.equal(CgroupDriver.CGROUPFS);
  });
});
