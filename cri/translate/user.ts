import { RuntimeError } from '../../runtime/errors.js';
import type { User } from '../../runtime/spec/types.js';
import { quote, refuse } from './check.js';

/**
 * Who a process runs as.
 *
 * A user is written as `USER` or `USER:GROUP`, each a number or a name. What looks like a number is a number and must
 * be a canonical 32-bit one: a passwd entry named "1000" never decides, a number out of range is never a name or
 * cut to a smaller number, 4294967295 (-1, "leave unchanged" to the kernel) is nobody.
 */

const maxId = 0xffff_fffe;

/** The part of a request that names the user; absent parts are undefined or empty. */
export interface UserRequest {
  readonly uid: bigint | undefined;
  readonly username: string;
  readonly gid: bigint | undefined;
  readonly supplementalGroups: readonly bigint[];
  readonly groupsPolicy: 'merge' | 'strict';
}

/** Text of the container's own files; undefined where there is none. */
export interface UserDatabase {
  readonly passwd: string | undefined;
  readonly group: string | undefined;
}

export interface ResolvedUser extends User {
  readonly additionalGids: readonly number[];
  /** From passwd, "/" without an entry. */
  readonly home: string;
}

/** Part of a user text: a number or a name. */
export type Principal =
  { readonly kind: 'id'; readonly id: number } | { readonly kind: 'name'; readonly name: string };

export interface UserText {
  readonly user: Principal;
  readonly group: Principal | undefined;
}

/**
 * Parses `USER[:GROUP]`.
 *
 * @throws InvalidArgument for anything else
 */
export function parseUserText(field: string, text: string): UserText {
  const [user = '', group, ...rest] = text.split(':');
  if (rest.length > 0) throw refuse(field, `${quote(text)} has more than one colon`);
  return {
    user: parsePrincipal(field, user, text),
    group: group === undefined ? undefined : parsePrincipal(field, group, text),
  };
}

function parsePrincipal(field: string, part: string, text: string): Principal {
  if (/^(0|[1-9][0-9]*)$/.test(part)) {
    // 10 digits at most: longer ones are out of range whatever they say.
    if (part.length > 10 || Number(part) > maxId) {
      throw refuse(field, `${quote(text)}: ${part.slice(0, 40)} is not a 32-bit id`);
    }
    return { kind: 'id', id: Number(part) };
  }
  if (/^[+-]?(0x)?[0-9]+$/i.test(part))
    throw refuse(field, `${quote(text)} is not a number in canonical form`);
  if (!/^[A-Za-z0-9_.][A-Za-z0-9_.@-]{0,255}\$?$/.test(part)) {
    throw refuse(field, `${quote(text)} is neither a user name nor a number`);
  }
  return { kind: 'name', name: part };
}

/**
 * Decides uid, gid, groups and home directory: the request first, the image's user where it names none, the container's
 * passwd and group for names, for the primary group of a bare user and (policy merge) for further groups.
 *
 * The primary group is always among the groups, so that a permission refused to it cannot be evaded.
 *
 * @throws InvalidArgument for malformed or contradictory input, NotFound for a name that the files do not have
 */
export function resolveUser(request: UserRequest, imageUser: string, files: UserDatabase): ResolvedUser {
  const { user, group } = chooseUser(request, imageUser);
  const passwd = parsePasswd(files.passwd ?? '');
  const entry = passwd.find(({ name, uid }) => (user.kind === 'id' ? uid === user.id : name === user.name));
  if (user.kind === 'name' && entry === undefined) {
    throw new RuntimeError('InvalidArgument', `user ${quote(user.name)}`, {
      cause: 'no such entry in /etc/passwd of the image (a number needs none)',
    });
  }
  const groups = parseGroup(files.group ?? '');
  const uid = user.kind === 'id' ? user.id : (entry?.uid ?? 0);
  const gid = group === undefined ? (entry?.gid ?? 0) : resolveGroup(group, groups);
  const merged =
    request.groupsPolicy === 'strict' || entry === undefined
      ? []
      : groups.filter(({ members }) => members.includes(entry.name)).map((row) => row.gid);
  const requested = request.supplementalGroups.map((id, index) => toId(`supplemental_groups[${index}]`, id));
  return { uid, gid, additionalGids: [...new Set([gid, ...merged, ...requested])], home: entry?.home ?? '/' };
}

const root: UserText = { user: { kind: 'id', id: 0 }, group: undefined };

function chooseUser(request: UserRequest, imageUser: string): UserText {
  const { uid, username, gid } = request;
  if (uid !== undefined && username !== '') throw refuse('run_as_username', 'excludes run_as_user');
  const group: Principal | undefined =
    gid === undefined ? undefined : { kind: 'id', id: toId('run_as_group', gid) };
  if (uid !== undefined) return { user: { kind: 'id', id: toId('run_as_user', uid) }, group };
  if (username !== '') {
    const named = parseUserText('run_as_username', username);
    return { user: named.user, group: group ?? named.group };
  }
  if (group !== undefined) throw refuse('run_as_group', 'needs run_as_user or run_as_username');
  return imageUser === '' ? root : parseUserText('user of the image', imageUser);
}

function resolveGroup(group: Principal, groups: readonly GroupEntry[]): number {
  if (group.kind === 'id') return group.id;
  const entry = groups.find(({ name }) => name === group.name);
  if (entry === undefined) {
    throw new RuntimeError('InvalidArgument', `group ${quote(group.name)}`, {
      cause: 'no such entry in /etc/group of the image (a number needs none)',
    });
  }
  return entry.gid;
}

function toId(field: string, value: bigint): number {
  if (value < 0n || value > BigInt(maxId)) throw refuse(field, `${value} is not a 32-bit id`);
  return Number(value);
}

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

/** passwd(5); lines that are not well formed are skipped, as libc does. */
function parsePasswd(text: string): readonly PasswdEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', , uid, gid, , home = ''] = line.split(':');
    const [user, group] = [fileId(uid), fileId(gid)];
    if (name === '' || user === undefined || group === undefined) return [];
    return [{ name, uid: user, gid: group, home: /^\/[^\0\n\r]*$/.test(home) ? home : '/' }];
  });
}

/** group(5). */
function parseGroup(text: string): readonly GroupEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', , gid, members = ''] = line.split(':');
    const id = fileId(gid);
    return name === '' || id === undefined ? [] : [{ name, gid: id, members: members.split(',') }];
  });
}

function fileId(text: string | undefined): number | undefined {
  return text !== undefined && /^[0-9]{1,10}$/.test(text) && Number(text) <= maxId ? Number(text) : undefined;
}

/** The user of an image as CRI Image shows it: a uid, or a name; the group is not part of it. */
export function describeImageUser(user: string): { readonly uid?: bigint; readonly username: string } {
  const name = user.split(':')[0] ?? '';
  if (/^(0|[1-9][0-9]{0,9})$/.test(name) && Number(name) <= maxId) return { uid: BigInt(name), username: '' };
  return { username: name };
}
