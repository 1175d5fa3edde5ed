import path from 'node:path';
import { pidfdOpen, readFilesSync } from '../../native/index.js';
import { parseStartTime } from '../base/process-identity.js';
import { messageOf } from '../errors.js';
import { readRecords } from '../records.js';
import {
  parseSandboxRecord,
  parseSandboxState,
  type SandboxRecord,
  type SandboxStateFile,
} from './record.js';
import { sandboxFiles } from './run.js';
import type { LiveSandbox, Sandboxes } from './service.js';
import { dismantleSandbox, forgetSandbox } from './stop.js';
import type { SandboxState } from './types.js';

/**
 * Makes the records and the kernel agree after a start. May itself be killed and repeated.
 *
 *   record of this boot, no state        a creation that never answered: unmade, forgotten
 *   one below the state directory alone  the same
 *   one of this boot, no state directory somebody removed it: taken apart, not ready
 *   state ready, pause alive             adopted
 *   state ready, pause gone              not ready; what is left of it is taken apart when it is stopped
 *   record of another boot               not ready: nothing of it can run
 *   record unreadable                    kept aside as .corrupt, the others go on
 *   state unreadable                     not ready, as if its pause process were gone
 *
 * The state stays `ready` until the sandbox is stopped: it says that the network is still to be given back. After a
 * reboot nothing says so any more, and it is given back once more: that is harmless (CNI: DEL is idempotent).
 */
export async function recoverSandboxes(room: Sandboxes): Promise<void> {
  const { deps } = room;
  const half: LiveSandbox[] = [];
  const stateless: LiveSandbox[] = [];
  const all = await readRecords({
    kind: 'sandbox',
    idField: 'podSandboxId',
    directory: deps.podsDir,
    stateDirectory: deps.statePodsDir,
    bootId: deps.bootId,
    logger: deps.logger,
    parseRecord: parseSandboxRecord,
    parseState: parseSandboxState,
    madeOnce: (message): SandboxStateFile => ({ version: 1, phase: 'ready', message, timingsMs: {} }),
    forget: (id) => forgetSandbox(deps, id),
  });
  for (const found of all) {
    const live = revive(room, found.record);
    room.store.set(live.value.id, live);
    if (found.stateless) stateless.push(live);
    if (found.state === undefined) half.push(live);
    else await adopt(room, live, found.record, found.state);
  }
  const living = [...room.store.values()].flatMap((live) =>
    live.attachment === undefined ? [] : [live.attachment],
  );
  await deps.network.adopt(living);
  for (const live of half) await unmake(room, live);
  for (const live of stateless) await end(room, live);
}

function revive({ deps, store }: Sandboxes, record: SandboxRecord): LiveSandbox {
  store.reserve(record.request.name, record.id);
  return {
    value: {
      id: record.id,
      request: record.request,
      createdAtNs: BigInt(record.createdAtNs),
      state: { phase: 'creating' },
      cgroupPath: record.cgroupPath,
      netnsPath: record.netnsPath,
      network: undefined,
      timingsMs: {},
      files: sandboxFiles(path.join(deps.statePodsDir, record.id)),
    },
    attachment: record.attachment,
    pause: undefined,
    pauseEnded: undefined,
    dismantled: false,
    stopping: undefined,
    removing: undefined,
  };
}

async function adopt(
  room: Sandboxes,
  live: LiveSandbox,
  record: SandboxRecord,
  state: SandboxStateFile,
): Promise<void> {
  const { deps } = room;
  const { network, podLimits, timingsMs } = state;
  live.value = { ...live.value, network, podLimits, timingsMs };
  if (state.phase === 'notready') live.attachment = undefined;
  const next = await stateOf(record, state, deps.bootId);
  room.setState(live, next);
  if (next.phase === 'ready') {
    live.pause = next.pause;
    room.watchPause(live, pidfdOpen(next.pause.pid));
  } else if (state.phase === 'ready') room.publish('notready', live);
  deps.logger.info('sandbox adopted', { podSandboxId: record.id, phase: next.phase });
}

async function stateOf(
  record: SandboxRecord,
  state: SandboxStateFile,
  bootId: string,
): Promise<SandboxState> {
  if (record.bootId !== bootId) return { phase: 'notready', message: 'the node was restarted' };
  if (state.phase === 'notready' || state.pause === undefined)
    return { phase: 'notready', message: state.message ?? 'stopped' };
  const [stat] = readFilesSync([`/proc/${state.pause.pid}/stat`]);
  if (typeof stat === 'string' && parseStartTime(stat) === state.pause.startTime)
    return { phase: 'ready', pause: state.pause };
  return { phase: 'notready', message: 'the pause process ended while the daemon was down' };
}

/** What cannot be unmade now is left to the next start: nobody knows of it, and the others must go on. */
async function unmake(room: Sandboxes, live: LiveSandbox): Promise<void> {
  const { deps, store } = room;
  const { id, request } = live.value;
  store.delete(id);
  store.releaseName(request.name, id);
  try {
    await dismantleSandbox(room, live);
    await forgetSandbox(deps, id);
    deps.logger.info('half made sandbox unmade', { podSandboxId: id });
  } catch (error) {
    deps.logger.error('half made sandbox not unmade', { podSandboxId: id, error: messageOf(error) });
  }
}

/** What cannot be ended now is ended when the sandbox is stopped. */
async function end(room: Sandboxes, live: LiveSandbox): Promise<void> {
  try {
    await dismantleSandbox(room, live);
  } catch (error) {
    const fields = { podSandboxId: live.value.id, error: messageOf(error) };
    room.deps.logger.error('sandbox without live state not taken apart', fields);
  }
}
