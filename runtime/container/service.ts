import type { StatsExtent } from '../cgroup/types.js';
import { KeyedLock } from '../base/keyed-lock.js';
import { Listeners } from '../base/listeners.js';
import { ObjectStore } from '../base/object-store.js';
import { RuntimeError, messageOf, wrapError } from '../errors.js';
import type { Plan } from '../plan/steps.js';
import type { Resources } from '../spec/types.js';
import { createContainer } from './create.js';
import type { ContainerDeps, Monitor, SeccompProgram } from './deps.js';
import { execSync } from './exec-sync.js';
import { recoverContainers } from './recover.js';
import { attachSession } from './attach.js';
import { execSession } from './exec.js';
import { removeContainer } from './remove.js';
import { containerStats } from './stats.js';
import { restoreContainer } from './restore.js';
import { startContainer } from './start.js';
import { stopContainer, type StopInProgress } from './stop.js';
import { transition, type ContainerEvent } from './transition.js';
import {
  checkpointContainer,
  pauseContainer,
  reopenLog,
  resumeContainer,
  updateContainer,
} from './operations.js';
import type {
  Container,
  ContainerChange,
  ContainerRequest,
  ContainerService,
  ContainerStats,
  ExecRequest,
  ExecResult,
  ExecSessionRequest,
  Session,
  SessionRequest,
} from './types.js';

/** A container in this daemon: its value, and what only this process holds of it. */
export interface LiveContainer {
  value: Container;
  monitor: Monitor | undefined;
  /** Settles when the exit was seen, recorded and published; a container without process has none. */
  ended: Promise<void> | undefined;
  /** Whether what an exit leaves in the kernel (the cgroup) is gone, once that was tried. */
  cleaned: Promise<boolean>;
  plan: Plan | undefined;
  seccomp: SeccompProgram | undefined;
  stop: StopInProgress | undefined;
  removing: Promise<void> | undefined;
}

/** All containers of this daemon. */
export class Containers implements ContainerService {
  readonly store = new ObjectStore<LiveContainer>();
  readonly lock = new KeyedLock();
  private readonly changes = new Listeners<ContainerChange>();

  constructor(readonly deps: ContainerDeps) {}

  async recover(): Promise<void> {
    await recoverContainers(this);
  }

  async create(request: ContainerRequest, signal: AbortSignal): Promise<Container> {
    return (await createContainer(this, request, signal)).value;
  }

  async start(id: string, signal: AbortSignal): Promise<void> {
    await this.during('start container', id, (live) => startContainer(this, live, signal));
  }

  async stop(id: string, timeoutMs: number, signal: AbortSignal): Promise<void> {
    const live = this.store.find(id);
    if (live === undefined) return;
    await this.during('stop container', id, () => stopContainer(this, live, timeoutMs, signal));
  }

  async remove(id: string, signal: AbortSignal): Promise<void> {
    const live = this.store.find(id);
    if (live === undefined) return;
    await this.during('remove container', id, () => removeContainer(this, live, signal));
  }

  async pause(id: string): Promise<void> {
    await this.during('pause container', id, (live) => pauseContainer(this, live));
  }

  async resume(id: string): Promise<void> {
    await this.during('resume container', id, (live) => resumeContainer(this, live));
  }

  async execSync(id: string, request: ExecRequest, signal: AbortSignal): Promise<ExecResult> {
    return this.during('exec in container', id, (live) => execSync(this, live, request, signal));
  }

  async exec(id: string, request: ExecSessionRequest): Promise<Session> {
    return this.during('exec in container', id, (live) => execSession(this, live, request));
  }

  async attach(id: string, request: SessionRequest): Promise<Session> {
    return this.during('attach to container', id, (live) => attachSession(live, request));
  }

  async reopenLog(id: string): Promise<void> {
    await this.during('reopen log of container', id, reopenLog);
  }

  async update(id: string, resources: Resources): Promise<void> {
    await this.during('update container', id, (live) => updateContainer(this, live, resources));
  }

  async checkpoint(
    id: string,
    request: { readonly location: string; readonly timeoutMs: number },
    signal: AbortSignal,
  ): Promise<void> {
    await this.during('checkpoint container', id, (live) => checkpointContainer(this, live, request, signal));
  }

  async restore(request: ContainerRequest, archivePath: string, signal: AbortSignal): Promise<Container> {
    return (await restoreContainer(this, request, archivePath, signal)).value;
  }

  async stats(ids: readonly string[], extent: StatsExtent = 'brief'): Promise<readonly ContainerStats[]> {
    return containerStats(this, ids, extent);
  }

  find(idOrPrefix: string): Container | undefined {
    return this.store.find(idOrPrefix)?.value;
  }

  list(): readonly Container[] {
    return [...this.store.values()].map((live) => live.value);
  }

  describePlan(id: string): string | undefined {
    const plan = this.store.find(id)?.plan;
    return plan === undefined ? undefined : this.deps.plans.print(plan);
  }

  subscribe(listener: (change: ContainerChange) => void): () => void {
    return this.changes.subscribe(listener);
  }

  /** Ids of a sandbox' containers. */
  of(sandboxId: string): readonly string[] {
    return this.list()
      .filter((container) => container.request.sandboxId === sandboxId)
      .map((container) => container.id);
  }

  publish(kind: ContainerChange['kind'], live: LiveContainer): void {
    this.changes.emit({ kind, container: live.value });
  }

  apply(live: LiveContainer, event: ContainerEvent): void {
    live.value = { ...live.value, state: transition(live.value.state, event) };
  }

  /** Lets go of every monitor; the containers run on. */
  close(): void {
    for (const live of this.store.values()) live.monitor?.close();
  }

  private async during<T>(op: string, id: string, work: (live: LiveContainer) => Promise<T>): Promise<T> {
    const live = this.store.find(id);
    if (live === undefined)
      throw new RuntimeError('NotFound', op, { subject: id, cause: 'no such container' });
    try {
      return await work(live);
    } catch (error) {
      this.deps.logger.debug('operation failed', { op, containerId: live.value.id, error: messageOf(error) });
      throw wrapError(op, error, live.value.id);
    }
  }
}
