import { readdir, rename } from 'node:fs/promises';
import path from 'node:path';
import { readFiles } from '../native/index.js';
import { isErrno, messageOf } from './errors.js';
import type { Logger } from './base/logger.js';

/** Names of an object's two files; which directory holds which its room says. */
export const RECORD = 'record.json';
export const STATE = 'state.json';

/** What every record tells. */
interface RecordHead {
  readonly id: string;
  readonly bootId: string;
}

/** Where the objects of one kind keep their records, and how these are read. */
export interface RecordStore<Record extends RecordHead, State> {
  /** For messages: "container", and the field that carries its id. */
  readonly kind: string;
  readonly idField: 'containerId' | 'podSandboxId';
  /** Survives a boot; one directory per object. */
  readonly directory: string;
  /** Dies with the boot; one directory per object. */
  readonly stateDirectory: string;
  readonly bootId: string;
  readonly logger: Logger;
  /** @throws for a torn or foreign file */
  readonly parseRecord: (text: string) => Record;
  /** @throws for a torn or foreign file */
  readonly parseState: (text: string) => State;
  /** What counts where a state is gone, or torn: nothing but that the object was made once. */
  readonly madeOnce: (problem?: string) => State;
  /** Removes both directories of an object. */
  readonly forget: (id: string) => Promise<void>;
}

export interface Found<Record, State> {
  readonly record: Record;
  /** Undefined: its creation never answered. */
  readonly state: State | undefined;
  /** Of this boot, but its state directory was removed since it was made: what runs of it is out of reach. */
  readonly stateless: boolean;
}

/**
 * What an earlier process left of its objects. A creation writes its record below the state directory first, and on disk
 * before it answers; so one that stands there alone is of a creation that never did. A record that cannot be read is kept
 * aside as `.corrupt`, and the others go on.
 */
export async function readRecords<Record extends RecordHead, State>(
  store: RecordStore<Record, State>,
): Promise<readonly Found<Record, State>[]> {
  const ids = await Promise.all([idsIn(store.directory), idsIn(store.stateDirectory)]);
  const found = await Promise.all([...new Set(ids.flat())].map((id) => readRecord(store, id)));
  return found.filter((entry) => entry !== undefined);
}

/** Ids of the objects that have a directory of their own below this one. */
async function idsIn(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory() && /^[0-9a-f]{64}$/.test(entry.name))
    .map((entry) => entry.name);
}

async function readRecord<Record extends RecordHead, State>(
  store: RecordStore<Record, State>,
  id: string,
): Promise<Found<Record, State> | undefined> {
  const directory = path.join(store.directory, id);
  const ofBoot = path.join(store.stateDirectory, id);
  const [text, intended, kept, live, lookup] = await readFiles([
    path.join(directory, RECORD),
    path.join(ofBoot, RECORD),
    path.join(directory, STATE),
    path.join(ofBoot, STATE),
    ofBoot, // no file, but it tells whether it is there
  ]);
  try {
    if (typeof text === 'string') {
      const record = parseOwn(store, id, text);
      const stateless = isErrno(lookup, 'ENOENT');
      const state = [kept, live].find((candidate) => typeof candidate === 'string');
      return {
        record,
        state: stateOf(store, record, { text: state, stateless }),
        stateless: stateless && record.bootId === store.bootId,
      };
    }
    if (!isErrno(text, 'ENOENT')) throw text ?? new Error('unreadable');
  } catch (error) {
    store.logger.warn(`unreadable ${store.kind} record kept aside`, {
      [store.idField]: id,
      error: messageOf(error),
    });
    await rename(directory, `${directory}.corrupt`);
    return undefined;
  }
  const record = typeof intended === 'string' ? parseIntended(store, id, intended) : undefined;
  if (record === undefined) await store.forget(id);
  return record && { record, state: undefined, stateless: false };
}

function parseOwn<Record extends RecordHead>(
  { parseRecord }: Pick<RecordStore<Record, unknown>, 'parseRecord'>,
  id: string,
  text: string,
): Record {
  const record = parseRecord(decode(text));
  if (record.id !== id) throw new Error(`record of ${record.id}`);
  return record;
}

/** Torn: nothing was made after it. */
function parseIntended<Record extends RecordHead>(
  store: Pick<RecordStore<Record, unknown>, 'parseRecord'>,
  id: string,
  text: string,
): Record | undefined {
  try {
    return parseOwn(store, id, text);
  } catch {
    return undefined;
  }
}

function stateOf<State>(
  { bootId, logger, kind, idField, parseState, madeOnce }: RecordStore<RecordHead, State>,
  record: RecordHead,
  { text, stateless }: { readonly text: string | undefined; readonly stateless: boolean },
): State | undefined {
  // Nobody but a reboot removes a state directory and leaves the record.
  if (text === undefined) return record.bootId === bootId && !stateless ? undefined : madeOnce();
  try {
    return parseState(decode(text));
  } catch (error) {
    logger.warn(`unreadable ${kind} state ignored`, { [idField]: record.id, error: messageOf(error) });
    return madeOnce('its state was unreadable');
  }
}

/** The text of a file that was read as bytes in latin1, as the native batches give them. */
function decode(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString('utf8');
}
