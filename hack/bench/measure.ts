import { IMAGE, endPod, execTrue, startPod, type Pod } from './pods.js';
import { machineCpuMs, processCpuMs, residentKib, runtimePssKib } from './processes.js';
import type { RuntimeUnderTest } from './runtimes.js';
import { Samples } from './samples.js';

/** One figure of the table. Bigger is better only where `more` says so. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly value: number;
  readonly more?: boolean;
}

export interface Scale {
  /** Pod lives of each latency measurement. */
  readonly lives: number;
  /** Pods that stand at the same time for lists, memory and idle CPU. */
  readonly standing: number;
  /** Pods of the throughput measurement. */
  readonly burst: number;
}

const IN_FLIGHT = 10;
const IDLE_MS = 10_000;
const LISTS = ['ListPodSandbox', 'ListContainers', 'ListContainerStats', 'ListPodSandboxStats'];

/** Everything that is measured of one runtime, in an order that leaves it as it was found. */
export async function measure(
  runtime: RuntimeUnderTest,
  scale: Scale,
  bigImage: string,
): Promise<readonly Figure[]> {
  await runtime.client.image.pullImage({ image: { image: IMAGE } });
  const networks = runtime.name === 'podwright' ? (['builtin', 'cni'] as const) : (['cni'] as const);
  await runtime.useNetwork(networks[0]);
  const samples = new Samples();
  await lives(runtime, samples, { prefix: 'warm-up', hostNetwork: true, count: 3 });
  const figures: Figure[] = [];
  figures.push(await cpuPerLife(runtime, samples, scale));
  for (const network of networks) {
    await runtime.useNetwork(network);
    await lives(runtime, samples, { prefix: network, hostNetwork: false, count: scale.lives });
  }
  for (const name of samples.names()) {
    if (name.startsWith('warm-up')) continue;
    for (const fraction of [0.5, 0.95]) {
      figures.push({
        name: `${name} p${fraction * 100}`,
        unit: 'ms',
        value: samples.quantile(name, fraction) ?? 0,
      });
    }
  }
  figures.push(await throughput(runtime, scale));
  figures.push(...(await standing(runtime, scale)));
  figures.push(await pull(runtime, bigImage));
  return figures;
}

interface Lives {
  readonly prefix: string;
  readonly hostNetwork: boolean;
  readonly count: number;
}

async function lives(
  runtime: RuntimeUnderTest,
  samples: Samples,
  { prefix, hostNetwork, count }: Lives,
): Promise<void> {
  for (let index = 0; index < count; index++) {
    const pod = await startPod(runtime, { name: `${prefix}-${index}`, hostNetwork }, samples, prefix);
    await samples.time(`${prefix} ExecSync`, () => execTrue(runtime, pod));
    await endPod(runtime, pod, samples, prefix);
  }
}

/** All CPU time of the machine during the lives, less our own: shims, runc, kernel threads and all. */
async function cpuPerLife(
  runtime: RuntimeUnderTest,
  samples: Samples,
  { lives: count }: Scale,
): Promise<Figure> {
  const [before, ownBefore] = [await machineCpuMs(), process.cpuUsage()];
  await lives(runtime, samples, { prefix: 'host', hostNetwork: true, count });
  const own = process.cpuUsage(ownBefore);
  const spent = (await machineCpuMs()) - before - (own.user + own.system) / 1000;
  return { name: 'CPU per pod life', unit: 'ms', value: spent / count };
}

async function throughput(runtime: RuntimeUnderTest, { burst }: Scale): Promise<Figure> {
  const samples = new Samples();
  let next = 0;
  const start = performance.now();
  const worker = async (): Promise<void> => {
    while (next < burst) {
      const pod = await startPod(runtime, { name: `burst-${next++}`, hostNetwork: true }, samples, 'burst');
      await endPod(runtime, pod, samples, 'burst');
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  return {
    name: `pod lives per second, ${IN_FLIGHT} in flight`,
    unit: '/s',
    value: burst / ((performance.now() - start) / 1000),
    more: true,
  };
}

async function standing(runtime: RuntimeUnderTest, { standing: count }: Scale): Promise<readonly Figure[]> {
  const samples = new Samples();
  const before = await runtimePssKib(runtime.pid);
  const pods: Pod[] = [];
  for (let index = 0; index < count; index++) {
    pods.push(await startPod(runtime, { name: `standing-${index}`, hostNetwork: true }, samples, 'standing'));
  }
  const perPod = ((await runtimePssKib(runtime.pid)) - before) / count;
  const everything = Buffer.alloc(0);
  for (let index = 0; index < 20; index++) {
    for (const list of LISTS) {
      await samples.time(list, () => runtime.bare.call(`/runtime.v1.RuntimeService/${list}`, everything));
    }
  }
  const cpuBefore = await processCpuMs(runtime.pid);
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
  const idle = (await processCpuMs(runtime.pid)) - cpuBefore;
  const resident = await residentKib(runtime.pid);
  for (const pod of pods) await endPod(runtime, pod, samples, 'standing');
  const lists = LISTS.map((name) => ({
    name: `${name}(${count}) p50`,
    unit: 'ms',
    value: samples.quantile(name, 0.5) ?? 0,
  }));
  return [
    ...lists,
    { name: 'memory per pod (PSS)', unit: 'KiB', value: perPod },
    { name: `daemon RSS with ${count} pods`, unit: 'MiB', value: resident / 1024 },
    { name: `idle CPU with ${count} pods`, unit: 'ms/s', value: idle / (IDLE_MS / 1000) },
  ];
}

async function pull(runtime: RuntimeUnderTest, image: string): Promise<Figure> {
  const start = performance.now();
  await runtime.client.image.pullImage({ image: { image } }, { timeoutMs: 300_000 });
  const seconds = (performance.now() - start) / 1000;
  await runtime.client.image.removeImage({ image: { image } });
  return { name: 'pull and unpack of 240 MB', unit: 's', value: seconds };
}
