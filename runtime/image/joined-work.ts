import { untilAborted } from '../base/keyed-lock.js';

interface Shared<T> {
  readonly result: Promise<T>;
  readonly controller: AbortController;
  waiters: number;
}

/**
 * Work that several callers want at the same time is done once. A caller that aborts leaves the others undisturbed; when
 * the last one has left, the work is aborted.
 */
export class JoinedWork<T> {
  /** What can be joined. */
  private readonly running = new Map<string, Shared<T>>();
  /** What has not ended yet, also work that was aborted and unwinds. */
  private readonly unfinished = new Set<Shared<T>>();

  async run(key: string, work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const shared = this.running.get(key) ?? this.start(key, work);
    shared.waiters += 1;
    try {
      return await untilAborted(shared.result, signal);
    } finally {
      shared.waiters -= 1;
      if (shared.waiters === 0) this.leave(key, shared);
    }
  }

  abortAll(reason: Error): void {
    for (const { controller } of this.unfinished) controller.abort(reason);
  }

  /** Resolves when nothing runs any more. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.unfinished].map(({ result }) => result));
  }

  private start(key: string, work: (signal: AbortSignal) => Promise<T>): Shared<T> {
    const controller = new AbortController();
    const shared: Shared<T> = { result: work(controller.signal), controller, waiters: 0 };
    this.running.set(key, shared);
    this.unfinished.add(shared);
    const ended = (): void => {
      this.unfinished.delete(shared);
      this.forget(key, shared);
    };
    shared.result.then(ended, ended);
    return shared;
  }

  private leave(key: string, shared: Shared<T>): void {
    this.forget(key, shared);
    shared.controller.abort(new Error('nobody waits for it any more'));
  }

  private forget(key: string, shared: Shared<T>): void {
    if (this.running.get(key) === shared) this.running.delete(key);
  }
}
