import { nowNs } from '../../runtime/base/clock.js';
import type { Container, ContainerStats } from '../../runtime/container/types.js';
import type { Runtime } from '../../runtime/index.js';
import type { Sandbox, SandboxInterfaces } from '../../runtime/sandbox/types.js';
import { inBatches, listEncoder } from '../encoded-list.js';
import { groupBySandbox } from '../stats.js';
import { containerClientOf, podClientOf } from '../translate/client-record.js';
import { type SampleContext, writeContainerSamples } from './container-samples.js';
import { families } from './families.js';
import { MetricWriter, encodeLabels, field } from './metric-writer.js';

/** The metrics of one pod as bytes of a PodSandboxMetrics. */
interface PodMetrics {
  readonly bytes: Buffer;
}

/** Pods whose figures are read at once: one batch keeps the event loop for a few milliseconds. */
const batchSize = 16;

const podMetricsList = listEncoder(({ bytes }: PodMetrics) => bytes);

/** The metrics of all ready sandboxes (the others use nothing), as messages of `repeated PodSandboxMetrics = 1`. */
export function streamPodMetrics(runtime: Runtime, signal: AbortSignal): AsyncIterable<Buffer> {
  const ready = runtime.sandboxes.list().filter(({ state }) => state.phase === 'ready');
  const read = (batch: readonly Sandbox[]) => readPodMetrics(runtime, batch);
  return inBatches(ready, { size: batchSize, read, list: podMetricsList, signal });
}

/** Reads the metrics of pods: everything the kernel says of their containers in four hops, whatever their number. */
async function readPodMetrics(
  runtime: Runtime,
  sandboxes: readonly Sandbox[],
): Promise<readonly PodMetrics[]> {
  const ids = new Set(sandboxes.map(({ id }) => id));
  const running = runtime.containers
    .list()
    .filter((container) => ids.has(container.request.sandboxId) && runs(container));
  const [interfaces, stats, storage] = await Promise.all([
    runtime.sandboxes.interfaces([...ids]),
    runtime.containers.stats(
      running.map(({ id }) => id),
      'full',
    ),
    runtime.storage(),
  ]);
  const context = { storage, nowNs: nowNs() };
  const bySandbox = groupBySandbox(stats);
  return interfaces.map((pod) => ({ bytes: encodePod(pod, bySandbox.get(pod.sandbox.id) ?? [], context) }));
}

function runs({ state }: Container): boolean {
  return state.phase === 'running' || state.phase === 'paused';
}

/** PodSandboxMetrics: 1 pod_sandbox_id, 2 metrics, 3 container_metrics. */
function encodePod(
  { sandbox, interfaces }: SandboxInterfaces,
  containers: readonly ContainerStats[],
  context: SampleContext,
): Buffer {
  const { namespace, name } = podClientOf(sandbox).metadata;
  const labels = encodeLabels([sandbox.cgroupPath, sandbox.id, '', '', namespace, name]);
  const writer = new MetricWriter(2, labels);
  for (const counters of interfaces) {
    writer.add(families.rxBytes, counters.rxBytes, counters.name);
    writer.add(families.rxPackets, counters.rxPackets, counters.name);
    writer.add(families.rxDropped, counters.rxDropped, counters.name);
    writer.add(families.rxErrors, counters.rxErrors, counters.name);
    writer.add(families.txBytes, counters.txBytes, counters.name);
    writer.add(families.txPackets, counters.txPackets, counters.name);
    writer.add(families.txDropped, counters.txDropped, counters.name);
    writer.add(families.txErrors, counters.txErrors, counters.name);
  }
  const ofContainers = containers.map((stats) =>
    field(3, encodeContainer(stats, { namespace, name }, context)),
  );
  return Buffer.concat([field(1, Buffer.from(sandbox.id)), writer.finish(), ...ofContainers]);
}

/** ContainerMetrics: 1 container_id, 2 metrics. */
function encodeContainer(
  stats: ContainerStats,
  pod: { readonly namespace: string; readonly name: string },
  context: SampleContext,
): Buffer {
  const { container } = stats;
  const { metadata, image } = containerClientOf(container);
  const labels = [
    container.cgroupPath,
    container.id,
    image.userSpecifiedImage || image.image,
    metadata.name,
    pod.namespace,
    pod.name,
  ];
  const writer = new MetricWriter(2, encodeLabels(labels));
  writeContainerSamples(writer, stats, context);
  return Buffer.concat([field(1, Buffer.from(container.id)), writer.finish()]);
}
