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
const WARM_UP = 'warm-up';
const LISTS = ['ListPodSandbox', 'ListContainers', 'ListContainerStats', 'ListPodSandboxStats'];

/** The machine's speed changes by a third within minutes: what is compared is measured in turns. */
const TURNS = 4;
/** Of what takes seconds. */
const LONG_TURNS = 2;

/** A runtime, and what was measured of it so far. */
interface Course {
  readonly runtime: RuntimeUnderTest;
  readonly samples: Samples;
  readonly figures: Figure[];
  lives: number;
}

/** Everything that is measured of the runtimes, by their names. */
export async function measure(
  runtimes: readonly RuntimeUnderTest[],
  scale: Scale,
  bigImage: string,
): Promise<ReadonlyMap<string, readonly Figure[]>> {
  const courses = runtimes.map((runtime): Course => ({
    runtime,
    samples: new Samples(),
    figures: [],
    lives: 0,
  }));
  for (const course of courses) await begin(course);
  await cpuPerLife(courses, scale);
  for (const network of ['builtin', 'cni'] as const) {
    const having = courses.filter(({ runtime }) => runtime.networks.includes(network));
    for (const { runtime } of having) await runtime.useNetwork(network);
    await inTurns(having, (course) =>
      lives(course, { prefix: network, hostNetwork: false, count: scale.lives / TURNS }),
    );
  }
  for (const course of courses) course.figures.push(...latencies(course.samples));
  await throughput(courses, scale);
  for (const { runtime, figures } of courses) figures.push(...(await standing(runtime, scale)));
  await pull(courses, bigImage);
  return new Map(courses.map(({ runtime, figures }) => [runtime.name, figures]));
}

/** What the kernel puts off until after a pod's end (its cgroups, namespaces and mounts) is not the next one's. */
const SETTLE_MS = 500;

/** All courses one after the other, several times. */
async function inTurns(
  courses: readonly Course[],
  work: (course: Course) => Promise<void>,
  turns = TURNS,
): Promise<void> {
  for (let turn = 0; turn < turns; turn++) {
    for (const course of courses) {
      await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
      await work(course);
    }
  }
}

async function begin(course: Course): Promise<void> {
  const { runtime, figures } = course;
  figures.push({
    name: 'daemon RSS at start',
    unit: 'MiB',
    value: (await residentKib(runtime.pid)) / 1024,
  });
  await runtime.client.image.pullImage({ image: { image: IMAGE } });
  await runtime.useNetwork(runtime.networks[0]);
  await lives(course, { prefix: WARM_UP, hostNetwork: true, count: 3 });
}

interface Lives {
  readonly prefix: string;
  readonly hostNetwork: boolean;
  readonly count: number;
}

async function lives(course: Course, { prefix, hostNetwork, count }: Lives): Promise<void> {
  const { runtime, samples } = course;
  for (let index = 0; index < count; index++) {
    const name = `${prefix}-${course.lives++}`;
    const pod = await startPod(runtime, { name, hostNetwork }, samples, prefix);
    await samples.time(`${prefix} ExecSync`, () => execTrue(runtime, pod));
    await endPod(runtime, pod, samples, prefix);
  }
}

function latencies(samples: Samples): readonly Figure[] {
  return samples
    .names()
    .filter((name) => !name.startsWith(WARM_UP))
    .flatMap((name) =>
      [0.5, 0.95].map((fraction) => ({
        name: `${name} p${fraction * 100}`,
        unit: 'ms',
        value: samples.quantile(name, fraction) ?? 0,
      })),
    );
}

/** What each course comes to in all of its turns. */
async function sumOfTurns(
  courses: readonly Course[],
  turns: number,
  work: (course: Course) => Promise<number>,
): Promise<ReadonlyMap<Course, number>> {
  const sums = new Map<Course, number>();
  await inTurns(
    courses,
    async (course) => {
      const value = await work(course);
      sums.set(course, (sums.get(course) ?? 0) + value);
    },
    turns,
  );
  return sums;
}

/** All CPU time of the machine during the lives, less our own: shims, runc, kernel threads and all. */
async function cpuPerLife(courses: readonly Course[], { lives: count }: Scale): Promise<void> {
  const spent = await sumOfTurns(courses, TURNS, async (course) => {
    const [before, ownBefore] = [await machineCpuMs(), process.cpuUsage()];
    await lives(course, { prefix: 'host', hostNetwork: true, count: count / TURNS });
    const own = process.cpuUsage(ownBefore);
    return (await machineCpuMs()) - before - (own.user + own.system) / 1000;
  });
  for (const [{ figures }, value] of spent)
    figures.push({ name: 'CPU per pod life', unit: 'ms', value: value / count });
}

async function throughput(courses: readonly Course[], { burst }: Scale): Promise<void> {
  const elapsed = await sumOfTurns(courses, LONG_TURNS, async (course) => {
    const { runtime } = course;
    const samples = new Samples();
    let left = burst / LONG_TURNS;
    const start = performance.now();
    const worker = async (): Promise<void> => {
      while (left-- > 0) {
        const name = `burst-${course.lives++}`;
        const pod = await startPod(runtime, { name, hostNetwork: true }, samples, 'burst');
        await endPod(runtime, pod, samples, 'burst');
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
    return performance.now() - start;
  });
  for (const [{ figures }, ms] of elapsed) {
    figures.push({
      name: `pod lives per second, ${IN_FLIGHT} in flight`,
      unit: '/s',
      value: burst / (ms / 1000),
      more: true,
    });
  }
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

async function pull(courses: readonly Course[], image: string): Promise<void> {
  const elapsed = await sumOfTurns(courses, LONG_TURNS, async ({ runtime }) => {
    const { image: images } = runtime.client;
    const start = performance.now();
    await images.pullImage({ image: { image } }, { timeoutMs: 300_000 });
    const ms = performance.now() - start;
    await images.removeImage({ image: { image } });
    return ms;
  });
  for (const [{ figures }, ms] of elapsed)
    figures.push({ name: 'pull and unpack of 240 MB', unit: 's', value: ms / 1000 / LONG_TURNS });
}
