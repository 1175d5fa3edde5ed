import {
  type IDMapping,
  type NamespaceOption,
  NamespaceMode,
  type UserNamespace as CriUserNamespace,
} from '../../protos/gen/cri/runtime/v1/api.js';
import type { UserNamespace } from '../../runtime/sandbox/types.js';
import type { IdMapping } from '../../runtime/spec/types.js';
import { refuse, unknownEnum } from './check.js';
import type { ResolvedUser } from './user.js';

/** Kernel ids are 32 bits wide, and the last one means "leave unchanged". */
const maxId = 0xffff_ffff;

/**
 * The user namespace of a pod: one range of ids from 0 on, which is what the kubelet gives, and none of them the host's
 * root. Undefined: the host's.
 *
 * @throws InvalidArgument naming the field
 */
export function toUserNamespace(
  field: string,
  options: Pick<NamespaceOption, 'usernsOptions'> | undefined,
): UserNamespace | undefined {
  const userns = options?.usernsOptions;
  const at = `${field}.userns_options`;
  if (userns === undefined) return undefined;
  switch (userns.mode) {
    case NamespaceMode.POD:
      return {
        uidMappings: toOneMapping(`${at}.uids`, userns.uids),
        gidMappings: toOneMapping(`${at}.gids`, userns.gids),
      };
    case NamespaceMode.NODE:
      if (userns.uids.length + userns.gids.length > 0)
        throw refuse(at, 'mappings need a user namespace: mode POD, not NODE');
      return undefined;
    case NamespaceMode.CONTAINER:
    case NamespaceMode.TARGET:
      throw refuse(`${at}.mode`, `must be POD or NODE, not ${NamespaceMode[userns.mode]}`);
    default:
      throw unknownEnum(`${at}.mode`, userns.mode);
  }
}

function toOneMapping(field: string, mappings: readonly IDMapping[]): readonly IdMapping[] {
  const [mapping] = mappings;
  if (mapping === undefined || mappings.length > 1)
    throw refuse(field, `must be exactly one mapping, not ${mappings.length}`);
  const range = toMapping(`${field}[0]`, mapping);
  if (range.containerID !== 0) throw refuse(`${field}[0].container_id`, 'must be 0: the pod needs a root');
  if (range.hostID === 0) throw refuse(`${field}[0].host_id`, "must not be 0: it is the host's root");
  return [range];
}

function toMapping(field: string, { containerId, hostId, length }: IDMapping): IdMapping {
  if (length === 0) throw refuse(`${field}.length`, 'must not be 0');
  if (containerId + length > maxId) throw refuse(`${field}.container_id`, 'the range ends beyond 32 bits');
  if (hostId + length > maxId) throw refuse(`${field}.host_id`, 'the range ends beyond 32 bits');
  return { containerID: containerId, hostID: hostId, size: length };
}

/** The maps of an idmapped volume: both or none. @throws InvalidArgument */
export function toMountMappings(
  field: string,
  {
    uidMappings,
    gidMappings,
  }: { readonly uidMappings: readonly IDMapping[]; readonly gidMappings: readonly IDMapping[] },
): UserNamespace | undefined {
  if (uidMappings.length + gidMappings.length === 0) return undefined;
  return {
    uidMappings: toMappings(`${field}.uidMappings`, uidMappings),
    gidMappings: toMappings(`${field}.gidMappings`, gidMappings),
  };
}

/** The kernel's own limit of lines is 340 (man 7 user_namespaces). */
const maxMappings = 340;

function toMappings(field: string, mappings: readonly IDMapping[]): readonly IdMapping[] {
  if (mappings.length === 0) throw refuse(field, 'must not be empty where the other kind of ids is mapped');
  if (mappings.length > maxMappings) throw refuse(field, `must have at most ${maxMappings} entries`);
  const ranges = mappings.map((mapping, index) => toMapping(`${field}[${index}]`, mapping));
  ranges.forEach((range, index) => {
    const other = ranges.findIndex((earlier) => overlaps(earlier, range));
    if (other < index) throw refuse(`${field}[${index}]`, `overlaps ${field}[${other}]`);
  });
  return ranges;
}

function overlaps(a: IdMapping, b: IdMapping): boolean {
  const meet = (from: number, other: number): boolean => from < other + b.size && other < from + a.size;
  return meet(a.containerID, b.containerID) || meet(a.hostID, b.hostID);
}

/** A container says nothing about its user namespace, or the same as its sandbox. @throws InvalidArgument */
export function checkSameUserNamespace(
  field: string,
  options: NamespaceOption | undefined,
  sandbox: UserNamespace | undefined,
): void {
  const own = toUserNamespace(field, options);
  if (options?.usernsOptions === undefined || JSON.stringify(own) === JSON.stringify(sandbox)) return;
  throw refuse(`${field}.userns_options`, `must be the same as the sandbox': ${describe(sandbox)}`);
}

function describe(namespace: UserNamespace | undefined): string {
  const text = (mappings: readonly IdMapping[]): string =>
    mappings.map(({ containerID, hostID, size }) => `${containerID}→${hostID} (${size})`).join(', ');
  if (namespace === undefined) return 'that of the node';
  return `users ${text(namespace.uidMappings)}, groups ${text(namespace.gidMappings)}`;
}

/** Who a container runs as must have ids on the host. @throws InvalidArgument */
export function checkMappedUser(user: ResolvedUser, namespace: UserNamespace | undefined): void {
  if (namespace === undefined) return;
  const { uidMappings, gidMappings } = namespace;
  check('user', user.uid, uidMappings);
  for (const gid of [user.gid, ...user.additionalGids]) check('group', gid, gidMappings);
}

function check(kind: string, id: number, mappings: readonly IdMapping[]): void {
  if (mappings.some(({ containerID, size }) => id >= containerID && id < containerID + size)) return;
  throw refuse(`${kind} ${id}`, "is not mapped in the pod's user namespace");
}

/** As PodSandboxStatus shows it. */
export function fromUserNamespace(namespace: UserNamespace | undefined): CriUserNamespace {
  if (namespace === undefined) return { mode: NamespaceMode.NODE, uids: [], gids: [] };
  return {
    mode: NamespaceMode.POD,
    uids: fromMappings(namespace.uidMappings),
    gids: fromMappings(namespace.gidMappings),
  };
}

export function fromMappings(mappings: readonly IdMapping[]): IDMapping[] {
  return mappings.map(({ containerID, hostID, size }) => ({
    containerId: containerID,
    hostId: hostID,
    length: size,
  }));
}
