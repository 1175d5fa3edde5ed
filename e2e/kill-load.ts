import { setTimeout as delay } from 'node:timers/promises';
import { ContainerState, NamespaceMode, PodSandboxState } from '../protos/gen/cri/runtime/v1/api.js';
import {
  type Bed,
  type ContainerConfig,
  type Pod,
  containerConfig,
  createContainer,
  exec,
  exitOf,
  runPod,
  statusOf,
  type PodConfig,
} from './bed.js';
import { awaitLine } from './container-log.js';
import type { Random } from './random.js';

/**
 * One client that makes pods, runs containers in them, executes, stops and removes, over and over, while the daemon is
 * killed under its hands. It keeps a book of what the daemon has answered, and after each start holds the daemon to it:
 * what was confirmed is there, or gone; every exit code is the one that the command was given.
 */
export interface Worker {
  /** Goes on until a call fails because the daemon was killed, or until told to stop at the end of a pod. */
  work(): Promise<void>;
  /** Compares the new daemon with the book, then ends the pod that was interrupted. */
  check(): Promise<void>;
  /** Pods that were taken through their whole life. */
  readonly lives: number;
}

export interface Load {
  readonly bed: Bed;
  readonly random: Random;
  /** Fires when the daemon is killed: then calls may fail. Each daemon has its own. */
  down(): AbortSignal;
  isOver(): boolean;
}

/** How a container ends, and what its status must say then. */
type End = 'itself' | 'stop' | 'kill' | 'pod' | 'remove';

interface BookedContainer {
  readonly id: string;
  readonly end: End;
  readonly code: number;
  readonly log: string;
  started: 'no' | 'asked' | 'yes';
  /** A signal that nothing can be done about may have been sent. */
  killed: boolean;
  stopped: boolean;
  removed: 'no' | 'asked' | 'yes';
}

interface BookedPod {
  readonly name: string;
  id: string | undefined;
  stopped: boolean;
  readonly containers: BookedContainer[];
}

const SIGKILLED = 137;

export function makeWorker(load: Load, number: number): Worker {
  let pod: BookedPod | undefined;
  let serial = 0;
  let lives = 0;
  return {
    get lives() {
      return lives;
    },
    work: async () => {
      while (!load.isOver()) {
        try {
          pod = { name: `load-${number}-${serial}`, id: undefined, stopped: false, containers: [] };
          serial += 1;
          await live(load, pod);
          pod = undefined;
          lives += 1;
        } catch (error) {
          if (load.down().aborted) return;
          throw new Error(`pod ${pod?.name}: ${String(error)}`, { cause: error });
        }
      }
    },
    check: async () => {
      if (pod === undefined) return;
      try {
        await compare(load, pod);
        await endPod(load, pod);
      } catch (error) {
        throw new Error(`${JSON.stringify(pod)}: ${String(error)}`, { cause: error });
      }
      pod = undefined;
    },
  };
}

async function live(load: Load, book: BookedPod): Promise<void> {
  const { bed, random } = load;
  const pod = await runPod(bed, book.name, podWishes(random));
  book.id = pod.id;
  const count = random.between(1, 3);
  await Promise.all(Array.from({ length: count }, (_, index) => liveContainer(load, book, pod, index)));
  await bed.daemon.client.runtime.stopPodSandbox({ podSandboxId: pod.id });
  book.stopped = true;
  for (const container of book.containers.filter(({ removed }) => removed === 'no'))
    await checkEnd(load, container);
  for (const container of book.containers) container.removed = 'asked';
  await bed.daemon.client.runtime.removePodSandbox({ podSandboxId: pod.id });
}

function podWishes(random: Random): PodConfig {
  const network = random.pick([NamespaceMode.POD, NamespaceMode.POD, NamespaceMode.NODE]);
  const pid = random.pick([NamespaceMode.CONTAINER, NamespaceMode.POD]);
  const withPort = network === NamespaceMode.POD && random.next() < 0.5;
  return {
    linux: { securityContext: { namespaceOptions: { network, pid } } },
    portMappings: withPort ? [{ containerPort: 80, hostPort: random.between(30_000, 60_000) }] : [],
  };
}

async function liveContainer(load: Load, book: BookedPod, pod: Pod, index: number): Promise<void> {
  const { bed, random } = load;
  const { runtime } = bed.daemon.client;
  const end = random.pick<End>(['itself', 'stop', 'kill', 'pod', 'remove']);
  const code = random.between(1, 120);
  const created = await createContainer(bed, pod, workload(bed, pod, { end, code, index, random }));
  const container: BookedContainer = {
    id: created.id,
    end,
    code,
    log: created.log,
    started: 'no',
    killed: false,
    stopped: false,
    removed: 'no',
  };
  book.containers.push(container);
  container.started = 'asked';
  await runtime.startContainer({ containerId: created.id });
  container.started = 'yes';
  if (end !== 'itself') {
    await awaitReady(load, created.log);
    if (random.next() < 0.5) await runExec(bed, created.id, random.between(1, 120));
  }
  await endContainer(load, container);
}

/** Gives up when the daemon is down: then nobody may have started it. */
async function awaitReady(load: Load, log: string): Promise<void> {
  await awaitLine(log, 'ready');
  if (load.down().aborted) throw new Error('the daemon is down');
}

function workload(
  bed: Bed,
  pod: Pod,
  { end, code, index, random }: { end: End; code: number; index: number; random: Random },
): ContainerConfig {
  const pid = pod.config.linux?.securityContext?.namespaceOptions?.pid ?? NamespaceMode.CONTAINER;
  const script =
    end === 'itself'
      ? `usleep ${random.between(0, 200) * 1000}; exit ${code}`
      : `trap 'exit ${code}' TERM; echo ready; while :; do sleep 1000 & wait; done`;
  return containerConfig(bed, `c${index}`, script, {
    linux: { securityContext: { namespaceOptions: { pid } } },
  });
}

async function runExec(bed: Bed, containerId: string, code: number): Promise<void> {
  const { exitCode, stdout } = await exec(bed, containerId, `echo x; exit ${code}`);
  if (exitCode !== code || stdout !== 'x\n') throw new Error(`exec: ${exitCode} ${stdout}, not ${code}`);
}

/** Ends it as it was made to, and checks how it has ended. */
async function endContainer(load: Load, container: BookedContainer): Promise<void> {
  const { runtime } = load.bed.daemon.client;
  const { id: containerId, end } = container;
  if (end === 'pod') return;
  if (end === 'stop') await runtime.stopContainer({ containerId, timeout: 20n });
  if (end === 'kill') {
    container.killed = true;
    await runtime.stopContainer({ containerId, timeout: 0n });
  }
  if (end !== 'remove') {
    await checkEnd(load, container);
    container.stopped = true;
  }
  container.killed = true;
  container.removed = 'asked';
  await runtime.removeContainer({ containerId });
  container.removed = 'yes';
}

/** Waits for the end, which must be the one that was arranged. */
async function checkEnd({ bed, down }: Load, container: BookedContainer): Promise<void> {
  const { id, end, code } = container;
  const { exitCode, reason, message, startedAt, finishedAt } = await exitOf(bed, id, down());
  const expected = end === 'itself' || end === 'stop' ? code : SIGKILLED;
  const right = exitCode === expected && reason === 'Error' && startedAt > 0n && finishedAt >= startedAt;
  if (!right)
    throw new Error(
      `container ${id} (${end}): exit code ${exitCode}, not ${expected}; ${reason} ${message} ${startedAt} ${finishedAt}`,
    );
}

/** The new daemon must know what the old one has answered. */
async function compare(load: Load, book: BookedPod): Promise<void> {
  const { runtime } = load.bed.daemon.client;
  const { items } = await runtime.listPodSandbox();
  const found = items.filter(({ metadata }) => metadata?.name === book.name);
  if (found.length > 1) throw new Error(`${found.length} pods of one name`);
  const [item] = found;
  if (book.id === undefined) {
    // Never answered: it may be whole or gone, and one that is whole can be ended by its id.
    book.id = item?.id;
    return;
  }
  const removing = book.stopped && book.containers.every(({ removed }) => removed !== 'no');
  if (item === undefined && !removing) throw new Error(`pod ${book.id} is gone`);
  if (item !== undefined && item.id !== book.id) throw new Error(`another pod: ${item.id}`);
  if (item !== undefined && book.stopped && item.state !== PodSandboxState.SANDBOX_NOTREADY)
    throw new Error('a stopped pod is ready');
  const { containers } = await runtime.listContainers({ filter: { podSandboxId: book.id } });
  const listed = new Set(containers.map(({ id }) => id));
  for (const container of book.containers) {
    const there = listed.has(container.id);
    if (container.removed === 'yes' && there) throw new Error(`container ${container.id} is back`);
    if (container.removed === 'no' && !there) throw new Error(`container ${container.id} is gone`);
    if (there) await compareContainer(load, container);
  }
}

async function compareContainer(load: Load, container: BookedContainer): Promise<void> {
  const { id, end, started, stopped, killed } = container;
  const { state, exitCode } = await statusOf(load.bed, id);
  const exited = state === ContainerState.CONTAINER_EXITED;
  if (started === 'yes' && state === ContainerState.CONTAINER_CREATED)
    throw new Error(`${id} was never started`);
  if (stopped && !exited) throw new Error(`${id} runs again`);
  if (killed && exited && (exitCode === SIGKILLED || exitCode === container.code)) return;
  if (exited && end !== 'pod') await checkEnd(load, container);
}

/** Takes the pod to its end, whatever state it was left in. */
async function endPod(load: Load, book: BookedPod): Promise<void> {
  const { runtime } = load.bed.daemon.client;
  if (book.id === undefined) return;
  const { containers } = await runtime.listContainers({ filter: { podSandboxId: book.id } });
  for (const { id, state } of containers) {
    const booked = book.containers.find((container) => container.id === id);
    if (booked?.started !== 'yes' || booked.killed) continue;
    if (state === ContainerState.CONTAINER_RUNNING && booked.end !== 'itself')
      await awaitLine(booked.log, 'ready');
    if (booked.end !== 'pod') await endContainer(load, booked);
  }
  await runtime.stopPodSandbox({ podSandboxId: book.id });
  for (const container of book.containers) {
    if (container.end === 'pod' && container.started === 'yes' && container.removed === 'no')
      await checkEnd(load, container);
  }
  await runtime.removePodSandbox({ podSandboxId: book.id });
}

/** Pulls and removes an image, over and over. */
export async function pullOverAndOver(load: Load, image: string): Promise<void> {
  while (!load.isOver()) {
    try {
      const { image: images } = load.bed.daemon.client;
      await images.pullImage({ image: { image } });
      await delay(load.random.between(0, 100));
      await images.removeImage({ image: { image } });
    } catch (error) {
      if (load.down().aborted) return;
      throw error;
    }
  }
}
