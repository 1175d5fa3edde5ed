import { MAX_TIMER_MS } from '../base/deadline.js';
import { untilAborted } from '../base/keyed-lock.js';
import { codeOf, isErrno } from '../errors.js';
import type { Containers, LiveContainer } from './service.js';

const SIGKILL = 9;

/** One stop for all its callers: the earliest deadline counts. */
export interface StopInProgress {
  /** Milliseconds on the monotonic clock. */
  deadlineMs: number;
  timer: NodeJS.Timeout | undefined;
  /** Settles when the first signal was sent. */
  signalled: Promise<void>;
  readonly firstSignal: number;
  readonly beganAtMs: number;
  /** How long the first signal was given before SIGKILL; undefined as long as that was not sent. */
  waitedMs: number | undefined;
}

/**
 * The stop signal, then SIGKILL when the deadline passes. The lock is held to send a signal, never while waiting: a
 * second stop may bring the deadline forward, and status and exec go on meanwhile.
 */
export async function stopContainer(
  room: Containers,
  live: LiveContainer,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (live.ended === undefined || !isAlive(live)) return;
  const deadlineMs = performance.now() + Math.max(0, timeoutMs);
  // A created container's init waits on its fifo and never ran: there is nothing it could do with a stop signal.
  const immediate = timeoutMs <= 0 || live.value.state.phase === 'created';
  if (live.stop === undefined) {
    const firstSignal = immediate ? SIGKILL : live.value.request.stopSignal;
    live.stop = {
      deadlineMs,
      timer: undefined,
      signalled: Promise.resolve(),
      firstSignal,
      beganAtMs: performance.now(),
      waitedMs: undefined,
    };
    live.stop.signalled = send(room, live, firstSignal);
    if (!immediate) arm(room, live, live.stop);
    void live.ended.then(() => {
      clearTimeout(live.stop?.timer);
      live.stop = undefined;
    });
  } else if (deadlineMs < live.stop.deadlineMs) {
    live.stop.deadlineMs = deadlineMs;
    if (immediate) live.stop.signalled = kill(room, live, live.stop);
    else arm(room, live, live.stop);
  }
  await live.stop.signalled;
  await untilAborted(live.ended, signal);
}

export function isAlive(live: LiveContainer): boolean {
  const { phase } = live.value.state;
  return phase === 'created' || phase === 'running' || phase === 'paused';
}

function kill(room: Containers, live: LiveContainer, stop: StopInProgress): Promise<void> {
  stop.waitedMs = performance.now() - stop.beganAtMs;
  return send(room, live, SIGKILL);
}

function arm(room: Containers, live: LiveContainer, stop: StopInProgress): void {
  clearTimeout(stop.timer);
  const waitMs = Math.min(Math.max(0, stop.deadlineMs - performance.now()), MAX_TIMER_MS);
  stop.timer = setTimeout(() => {
    stop.signalled = kill(room, live, stop).catch((error: unknown) => {
      room.deps.logger.error('killing a container failed', {
        containerId: live.value.id,
        error: String(error),
      });
    });
  }, waitMs);
}

async function send(room: Containers, live: LiveContainer, signalNumber: number): Promise<void> {
  await room.lock.hold(live.value.id, async () => {
    if (!isAlive(live)) return;
    const cgroup = room.deps.cgroups.open(live.value.cgroupPath);
    try {
      if (live.monitor === undefined) await cgroup.kill();
      else await live.monitor.signal(signalNumber);
    } catch (error) {
      if (!isErrno(error, 'ESRCH') && codeOf(error) !== 'Unavailable') throw error;
      // The monitor is ending, and with it the container: the word of that is on its way. Should the connection alone
      // be broken, SIGKILL finds its target without.
      if (signalNumber === SIGKILL) await cgroup.kill();
    }
    // A frozen process takes no signal, not even SIGKILL on v1.
    if (live.value.state.phase === 'paused') await cgroup.thaw();
  });
}
