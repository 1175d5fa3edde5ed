import type { Duplex } from 'node:stream';
import { KeyedLock, untilAborted } from '../base/keyed-lock.js';
import { Listeners } from '../base/listeners.js';
import { ObjectStore } from '../base/object-store.js';
import { RuntimeError, messageOf } from '../errors.js';
import { waitPidfd, type Fd } from '../../native/index.js';
import type { SandboxDeps } from './deps.js';
import { recoverSandboxes } from './recover.js';
import { forwardPort } from './port-forward.js';
import { runSandbox } from './run.js';
import { updatePodLimits } from './update.js';
import { sandboxInterfaces, sandboxStats } from './stats.js';
import { dismantleSandbox, forgetSandbox, writeSandboxState } from './stop.js';
import type {
  PodLimits,
  ProcessIdentity,
  Sandbox,
  SandboxChange,
  SandboxInterfaces,
  SandboxRequest,
  SandboxService,
  SandboxState,
  SandboxStats,
} from './types.js';
import type { NetworkAttachment } from '../network/types.js';

/** A sandbox in this daemon: its value, and what only this process holds of it. */
export interface LiveSandbox {
  value: Sandbox;
  attachment: NetworkAttachment | undefined;
  /** The pause process, while it is not known to have ended. */
  pause: ProcessIdentity | undefined;
  /** Settles when the pause process has ended; undefined when there is none. */
  pauseEnded: Promise<void> | undefined;
  /** A stop of this daemon has gone through: nothing of it is left in the kernel. */
  dismantled: boolean;
  /** Work in progress that an identical request joins. */
  stopping: Promise<void> | undefined;
  removing: Promise<void> | undefined;
}

/** All sandboxes of this daemon. */
export class Sandboxes implements SandboxService {
  readonly store = new ObjectStore<LiveSandbox>();
  readonly lock = new KeyedLock();
  private readonly changes = new Listeners<SandboxChange>();

  constructor(readonly deps: SandboxDeps) {}

  async recover(): Promise<void> {
    await recoverSandboxes(this);
  }

  async run(request: SandboxRequest, signal: AbortSignal, beside?: Promise<unknown>): Promise<Sandbox> {
    const live = await runSandbox(this, { request, signal, beside });
    this.publish('ready', live);
    return live.value;
  }

  async stop(idOrPrefix: string, signal: AbortSignal): Promise<void> {
    const live = this.store.find(idOrPrefix);
    if (live === undefined) return;
    live.stopping ??= this.stopOnce(live).finally(() => {
      live.stopping = undefined;
    });
    await untilAborted(live.stopping, signal);
  }

  async remove(idOrPrefix: string, signal: AbortSignal): Promise<void> {
    const live = this.store.find(idOrPrefix);
    if (live === undefined) return;
    live.removing ??= this.removeOnce(live).finally(() => {
      live.removing = undefined;
    });
    await untilAborted(live.removing, signal);
  }

  async portForward(id: string, port: number, signal: AbortSignal): Promise<Duplex> {
    return forwardPort(this, id, port, signal);
  }

  async update(id: string, limits: PodLimits): Promise<void> {
    await updatePodLimits(this, id, limits);
  }

  find(idOrPrefix: string): Sandbox | undefined {
    return this.store.find(idOrPrefix)?.value;
  }

  list(): readonly Sandbox[] {
    return [...this.store.values()].map((live) => live.value);
  }

  async stats(ids: readonly string[]): Promise<readonly SandboxStats[]> {
    return sandboxStats(this, ids);
  }

  async interfaces(ids: readonly string[]): Promise<readonly SandboxInterfaces[]> {
    return sandboxInterfaces(this, ids);
  }

  subscribe(listener: (change: SandboxChange) => void): () => void {
    return this.changes.subscribe(listener);
  }

  publish(kind: SandboxChange['kind'], live: LiveSandbox): void {
    this.changes.emit({ kind, sandbox: live.value });
  }

  setState(live: LiveSandbox, state: SandboxState): void {
    live.value = { ...live.value, state };
  }

  /** Follows the pause process: a sandbox whose pause died is not ready, whoever killed it. */
  watchPause(live: LiveSandbox, pidfd: Fd): void {
    live.pauseEnded = waitPidfd(pidfd).then(() => {
      if (live.value.state.phase !== 'ready') return;
      this.setState(live, { phase: 'notready', message: 'the pause process ended' });
      this.publish('notready', live);
      if (live.stopping === undefined) {
        this.deps.logger.warn('pause process ended', { podSandboxId: live.value.id });
      }
    });
  }

  private async stopOnce(live: LiveSandbox): Promise<void> {
    const { id } = live.value;
    try {
      const signal = new AbortController().signal;
      await Promise.all(
        this.deps.containersOf(id).map((container) => this.deps.killContainer(container, signal)),
      );
      await this.lock.hold(id, async () => {
        if (live.dismantled || live.value.state.phase === 'removing') return;
        await dismantleSandbox(this, live);
        // The end of the pause process may have told it already.
        const wasReady = live.value.state.phase === 'ready';
        this.setState(live, { phase: 'notready', message: 'stopped' });
        writeSandboxState(this.deps, live);
        live.dismantled = true;
        if (wasReady) this.publish('notready', live);
      });
    } catch (error) {
      throw stopError('stop pod sandbox', id, error);
    }
  }

  private async removeOnce(live: LiveSandbox): Promise<void> {
    const { id } = live.value;
    try {
      const signal = new AbortController().signal;
      live.stopping ??= this.stopOnce(live).finally(() => {
        live.stopping = undefined;
      });
      await live.stopping;
      await Promise.all(
        this.deps.containersOf(id).map((container) => this.deps.removeContainer(container, signal)),
      );
      await this.lock.hold(id, async () => {
        this.setState(live, { phase: 'removing' });
        await forgetSandbox(this.deps, id);
        this.store.delete(id);
        this.store.releaseName(live.value.request.name, id);
      });
      this.publish('removed', live);
    } catch (error) {
      throw stopError('remove pod sandbox', id, error);
    }
  }
}

function stopError(op: string, id: string, error: unknown): RuntimeError {
  if (error instanceof RuntimeError) return new RuntimeError(error.code, op, { subject: id, cause: error });
  return new RuntimeError('Internal', op, { subject: id, cause: messageOf(error) });
}
