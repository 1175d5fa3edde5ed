import { ContainerEventType } from '../../protos/gen/cri/runtime/v1/api.js';
import { nowNs } from '../../runtime/base/clock.js';
import type { Logger } from '../../runtime/base/logger.js';
import type { ContainerChange } from '../../runtime/container/types.js';
import { RuntimeError, messageOf } from '../../runtime/errors.js';
import type { SandboxChange } from '../../runtime/sandbox/types.js';
import type { Objects } from '../pod-containers.js';
import { type Happening, encodeBareEvent, encodeEvent } from './event.js';
import { EventQueue, type QueueLimits } from './event-queue.js';

/** A node with 110 pods makes about a thousand events when all of them start. */
const defaultLimits: QueueLimits = { events: 4096, bytes: 4 * 1024 * 1024 };

/** How long after a start a client is expected back that followed the daemon before. */
const returnMs = 120_000;

const containerEvents: Readonly<Record<ContainerChange['kind'], readonly ContainerEventType[]>> = {
  created: [ContainerEventType.CONTAINER_CREATED_EVENT],
  started: [ContainerEventType.CONTAINER_STARTED_EVENT],
  stopped: [ContainerEventType.CONTAINER_STOPPED_EVENT],
  removed: [ContainerEventType.CONTAINER_DELETED_EVENT],
  changed: [],
};

/** A sandbox is announced when it is complete: created and started at once, as other runtimes do. */
const sandboxEvents: Readonly<Record<SandboxChange['kind'], readonly ContainerEventType[]>> = {
  created: [],
  ready: [ContainerEventType.CONTAINER_CREATED_EVENT, ContainerEventType.CONTAINER_STARTED_EVENT],
  notready: [ContainerEventType.CONTAINER_STOPPED_EVENT],
  removed: [ContainerEventType.CONTAINER_DELETED_EVENT],
};

/**
 * CRI GetContainerEvents, for any number of clients. An event is made once, when something happens, and only if
 * somebody follows; it carries the pod as it is then.
 *
 * Nothing of the past is told, with one exception: what ended while no daemon ran, or in the time after its start until
 * the first client came back, is told to each client that comes, as long as it is there. Such an event says what is the
 * case, so that a client may get it twice.
 */
export class ContainerEvents {
  private readonly queues = new Set<EventQueue>();
  private readonly endedUnseen = new Set<string>();
  private readonly bornMs = performance.now();
  private hadClients = false;
  private lastNs = 0n;
  private end: RuntimeError | undefined;

  constructor(
    private readonly log: Logger,
    private readonly limits: QueueLimits = defaultLimits,
  ) {}

  /** To be called before the daemon takes up what an earlier one left. */
  observe(objects: Objects): void {
    objects.containers.subscribe(({ kind, container }) => {
      const sandbox = objects.sandboxes.find(container.request.sandboxId);
      for (const type of containerEvents[kind]) this.tell({ id: container.id, type, sandbox }, objects);
    });
    objects.sandboxes.subscribe(({ kind, sandbox }) => {
      for (const type of sandboxEvents[kind]) this.tell({ id: sandbox.id, type, sandbox }, objects);
    });
  }

  /**
   * What happens from now on. Ends only with an error.
   *
   * @throws ResourceExhausted for a client that is too slow, Unavailable when the daemon ends, the signal's reason
   */
  async *follow(objects: Objects, signal: AbortSignal): AsyncGenerator<Buffer> {
    if (this.end !== undefined) throw this.end;
    this.hadClients = true;
    const queue = new EventQueue(this.limits);
    this.queues.add(queue);
    try {
      for (const id of [...this.endedUnseen]) {
        const event = this.endOf(id, objects);
        if (event !== undefined) yield event;
      }
      yield* queue.read(signal);
    } finally {
      this.queues.delete(queue);
    }
  }

  /** Ends all streams, and refuses new ones: they would keep the server from closing. */
  close(): void {
    this.end = new RuntimeError('Unavailable', 'container events', { cause: 'the daemon is stopping' });
    for (const queue of this.queues) queue.close(this.end);
  }

  private tell(what: Omit<Happening, 'atNs'>, objects: Objects): void {
    this.noteEnd(what);
    if (this.queues.size === 0) return;
    const slow = [...this.queues].filter((queue) => queue.hasMissed);
    for (const queue of slow) queue.miss();
    if (slow.length === this.queues.size) return;
    const event = this.encode(what, objects);
    for (const queue of this.queues) if (!slow.includes(queue)) queue.put(event);
  }

  private noteEnd({ id, type }: Omit<Happening, 'atNs'>): void {
    if (type === ContainerEventType.CONTAINER_DELETED_EVENT) this.endedUnseen.delete(id);
    if (type !== ContainerEventType.CONTAINER_STOPPED_EVENT || this.hadClients) return;
    if (performance.now() - this.bornMs < returnMs) this.endedUnseen.add(id);
  }

  private endOf(id: string, objects: Objects): Buffer | undefined {
    const sandboxId = objects.containers.find(id)?.request.sandboxId ?? id;
    const sandbox = objects.sandboxes.find(sandboxId);
    if (sandbox === undefined) return undefined;
    return this.encode({ id, type: ContainerEventType.CONTAINER_STOPPED_EVENT, sandbox }, objects);
  }

  private encode(what: Omit<Happening, 'atNs'>, objects: Objects): Buffer {
    const happening = { ...what, atNs: this.nextNs() };
    try {
      return encodeEvent(happening, objects);
    } catch (error) {
      this.log.warn('container event without its pod', { containerId: what.id, error: messageOf(error) });
      return encodeBareEvent(happening);
    }
  }

  /** Clients tell by the time which of two events is the later one. */
  private nextNs(): bigint {
    const now = nowNs();
    this.lastNs = now > this.lastNs ? now : this.lastNs + 1n;
    return this.lastNs;
  }
}
