import path from 'node:path';
import { fileBatch } from '../../native/index.js';
import { nowNs } from '../base/clock.js';
import { messageOf } from '../errors.js';
import type { Monitor, MonitorExit } from './deps.js';
import { exitMessage } from './exit-message.js';
import { STATE } from '../records.js';
import { printContainerState } from './record.js';
import type { Containers, LiveContainer } from './service.js';
import type { Exit } from './types.js';

/** Waits for the end of init in the background; whatever ends the container passes here. */
export function followExit(room: Containers, live: LiveContainer, monitor: Monitor): void {
  live.monitor = monitor;
  live.ended = monitor.exited.then((exit) => {
    finish(room, live, exit);
  });
}

/**
 * Takes the container to `exited`, tells everybody, then clears the kernel and writes the state in the background: the
 * monitor's own record is on disk already, so nothing is lost if we die here.
 */
export function finish(room: Containers, live: LiveContainer, exit: MonitorExit): void {
  const { phase } = live.value.state;
  if (phase === 'exited' || phase === 'removing') return;
  // The word of its start was overtaken.
  if (phase === 'created' && exit.startedAtNs > 0n) {
    room.apply(live, { event: 'started', atNs: exit.startedAtNs });
    room.publish('started', live);
  }
  room.apply(live, { event: 'exited', exit: explainExit(room, live, exit) });
  live.monitor = undefined;
  live.cleaned = clean(room, live, exit.lost);
  room.publish('stopped', live);
}

async function clean({ deps }: Containers, live: LiveContainer, lost: boolean): Promise<boolean> {
  const { id, cgroupPath } = live.value;
  try {
    const cgroup = deps.cgroups.open(cgroupPath);
    // Init's end was the end of all in a pid namespace of its own, the monitor has seen to the rest elsewhere.
    if (lost) await cgroup.destroy();
    else await cgroup.remove();
    await writeState(deps.containersDir, live);
    return true;
  } catch (error) {
    deps.logger.warn('cleaning up after a container failed', { containerId: id, error: messageOf(error) });
    return false;
  }
}

/** Writes what must be known after the next start: the exit, and limits that were changed. */
export async function writeState(containersDir: string, live: LiveContainer): Promise<void> {
  const { id, state, spec, timingsMs } = live.value;
  const data = printContainerState({
    version: 1,
    phase: state.phase === 'exited' ? 'exited' : 'created',
    init: 'init' in state ? state.init : undefined,
    exit: state.phase === 'exited' ? state.exit : undefined,
    paused: state.phase === 'paused',
    resources: spec.linux?.resources,
    timingsMs,
  });
  await fileBatch([{ op: 'replace', path: path.join(containersDir, id, STATE), data, mode: 0o600 }]);
}

/** The exit of a container whose monitor can tell nothing any more. */
export function lostExit(): MonitorExit {
  return {
    code: 255,
    signal: 0,
    oomKilled: false,
    startedAtNs: 0n,
    finishedAtNs: nowNs(),
    failure: undefined,
    lost: true,
  };
}

/** CRI ContainerStatus.reason in the field's words, with the failed step as message. */
function explainExit({ deps }: Containers, live: LiveContainer, exit: MonitorExit): Exit {
  const { code, signal, oomKilled, startedAtNs, finishedAtNs, failure, lost } = exit;
  const base = { code, signal, oomKilled, startedAtNs, finishedAtNs };
  if (lost) return { ...base, reason: 'Unknown', message: 'monitor lost' };
  if (failure !== undefined) {
    const message =
      live.plan === undefined ? failure.detail : messageOf(deps.plans.explain(live.plan, failure));
    return { ...base, reason: 'StartError', message };
  }
  const message = exitMessage(exit, live.stop, live.value.spec.linux?.resources?.memory?.limit);
  if (oomKilled) return { ...base, reason: 'OOMKilled', message };
  return { ...base, reason: code === 0 ? 'Completed' : 'Error', message };
}
