import { rename } from 'node:fs/promises';
import path from 'node:path';
import { pidfdOpen, readFiles, readFilesSync, type FileResult } from '../../native/index.js';
import { parseStartTime } from '../base/process-identity.js';
import { decode, idsInAny } from '../base/record-files.js';
import { isErrno, messageOf } from '../errors.js';
import {
  RECORD,
  STATE,
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
 *   the same, no state directory         somebody removed it: taken apart, not ready
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
  for (const id of await idsInAny([deps.podsDir, deps.statePodsDir])) {
    const found = await readSandbox(room, id);
    if (found === undefined) continue;
    const live = revive(room, found.record);
    room.store.set(id, live);
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

interface FoundSandbox {
  readonly record: SandboxRecord;
  readonly state: SandboxStateFile | undefined;
  /** Its state directory was removed since it was made: what runs of it is out of reach. */
  readonly stateless: boolean;
}

async function readSandbox(room: Sandboxes, id: string): Promise<FoundSandbox | undefined> {
  const { deps } = room;
  const directory = path.join(deps.podsDir, id);
  const stateDirectory = path.join(deps.statePodsDir, id);
  const [record, intended, text, lookup] = await readFiles([
    path.join(directory, RECORD),
    path.join(stateDirectory, RECORD),
    path.join(stateDirectory, STATE),
    stateDirectory, // no file, but it tells whether it is there
  ]);
  try {
    if (typeof record !== 'string') {
      if (!isErrno(record, 'ENOENT')) throw record ?? new Error('unreadable');
      const half = typeof intended === 'string' ? parseIntended(intended, id) : undefined;
      if (half === undefined) await forgetSandbox(deps, id);
      return half && { record: half, state: undefined, stateless: false };
    }
    const parsed = parseSandboxRecord(decode(record));
    if (parsed.id !== id) throw new Error(`record of ${parsed.id}`);
    const stateless = isErrno(lookup, 'ENOENT');
    const state = stateFor(room, parsed, { text, stateless });
    return { record: parsed, state, stateless: stateless && parsed.bootId === deps.bootId };
  } catch (error) {
    deps.logger.warn('unreadable sandbox record kept aside', { podSandboxId: id, error: messageOf(error) });
    await rename(directory, `${directory}.corrupt`);
    return undefined;
  }
}

/** Torn, or of somebody else: nothing was made after it. */
function parseIntended(text: string, id: string): SandboxRecord | undefined {
  try {
    const record = parseSandboxRecord(decode(text));
    return record.id === id ? record : undefined;
  } catch {
    return undefined;
  }
}

interface FoundState {
  readonly text: FileResult | undefined;
  /** Nobody but a reboot removes a state directory and leaves the record. */
  readonly stateless: boolean;
}

function stateFor(
  room: Sandboxes,
  { id, bootId }: SandboxRecord,
  { text, stateless }: FoundState,
): SandboxStateFile | undefined {
  if (typeof text === 'string') return readState(room, id, text);
  const unfinished = bootId === room.deps.bootId && !stateless;
  return unfinished ? undefined : { version: 1, phase: 'ready', timingsMs: {} };
}

/** A torn state tells nothing but that the sandbox was ready once. */
function readState({ deps }: Sandboxes, id: string, state: string): SandboxStateFile {
  try {
    return parseSandboxState(decode(state));
  } catch (error) {
    deps.logger.warn('unreadable sandbox state ignored', { podSandboxId: id, error: messageOf(error) });
    return { version: 1, phase: 'ready', message: 'its state was unreadable', timingsMs: {} };
  }
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
