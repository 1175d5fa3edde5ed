import { stat } from 'node:fs/promises';
import { deviceNumber } from '../base/device-number.js';
import { RuntimeError, wrapError } from '../errors.js';
import type { Device, DeviceRule, Mount, Spec } from '../spec/types.js';
import type { CdiMount, ContainerEdits, DeviceNode } from './document.js';

/**
 * Applies one set of edits to a spec: CDI SPEC.md#cdi-json-specification. What the spec has at a path already, or in a
 * variable, is replaced.
 *
 * @throws Unimplemented for hooks, network devices and resctrl, FailedPrecondition for a device node the host lacks
 */
export async function applyEdits(spec: Spec, edits: ContainerEdits): Promise<Spec> {
  refuseUnsupported(edits);
  const nodes = await Promise.all((edits.deviceNodes ?? []).map((node) => completeNode(node, spec)));
  const { process, linux } = spec;
  return {
    ...spec,
    ...(process === undefined
      ? {}
      : {
          process: {
            ...process,
            env: withVariables(process.env ?? [], edits.env ?? []),
            user: withGroups(process.user, edits.additionalGids ?? []),
          },
        }),
    mounts: withMounts(spec.mounts ?? [], edits.mounts ?? []),
    linux: {
      ...linux,
      devices: withDevices(
        linux?.devices ?? [],
        nodes.map(({ device }) => device),
      ),
      resources: {
        ...linux?.resources,
        devices: [...(linux?.resources?.devices ?? []), ...nodes.flatMap(({ rules }) => rules)],
      },
    },
  };
}

function refuseUnsupported({ hooks = [], netDevices = [], intelRdt }: ContainerEdits): void {
  const refused = [
    hooks.length > 0 && `hooks (${[...new Set(hooks.map(({ hookName }) => hookName))].join(', ')})`,
    netDevices.length > 0 && 'netDevices',
    intelRdt !== undefined && 'intelRdt',
  ].find((word) => word !== false);
  if (refused !== undefined) throw new RuntimeError('Unimplemented', `${refused} are not supported`);
}

/** A variable that is set anew keeps its place. */
function withVariables(env: readonly string[], edits: readonly string[]): readonly string[] {
  const variables = new Map([...env, ...edits].map((line) => [line.slice(0, line.indexOf('=')), line]));
  return [...variables.values()];
}

type User = NonNullable<Spec['process']>['user'];

/** Group 0 is not added: the CDI specification takes it for an unset value. */
function withGroups(user: User, gids: readonly number[]): User {
  const added = gids.filter((gid) => gid !== 0);
  if (added.length === 0) return user;
  return { ...user, additionalGids: [...new Set([...(user.additionalGids ?? []), ...added])] };
}

function withMounts(mounts: readonly Mount[], edits: readonly CdiMount[]): readonly Mount[] {
  if (edits.length === 0) return mounts;
  const taken = new Set(edits.map(({ containerPath }) => containerPath));
  const all = [...mounts.filter(({ destination }) => !taken.has(destination)), ...edits.map(toMount)];
  // What lies below another mount comes after it.
  return all
    .map((mount, index) => ({ mount, index, depth: mount.destination.split('/').length }))
    .sort((a, b) => a.depth - b.depth || a.index - b.index)
    .map(({ mount }) => mount);
}

function toMount({ hostPath, containerPath, type = '', options = [] }: CdiMount): Mount {
  const base = { destination: containerPath, source: hostPath };
  if (type !== '' && type !== 'bind' && type !== 'none') return { ...base, type, options };
  const isBind = options.some((word) => word === 'bind' || word === 'rbind');
  return { ...base, type: 'bind', options: isBind ? options : ['rbind', ...options] };
}

function withDevices(devices: readonly Device[], edits: readonly Device[]): readonly Device[] {
  const taken = new Set(edits.map((device) => device.path));
  return [...devices.filter((device) => !taken.has(device.path)), ...edits];
}

interface CompleteNode {
  readonly device: Device;
  readonly rules: readonly DeviceRule[];
}

/** What the file leaves open is as on the host, and the owner is the container's user. */
async function completeNode(node: DeviceNode, { process }: Spec): Promise<CompleteNode> {
  const { type, major, minor } = await numbersOf(node);
  const { uid = process?.user.uid, gid = process?.user.gid } = node;
  const device: Device = {
    path: node.path,
    type,
    ...(type === 'p' ? {} : { major, minor }),
    ...(node.fileMode === undefined ? {} : { fileMode: node.fileMode }),
    uid: uid ?? 0,
    gid: gid ?? 0,
  };
  const access = node.permissions === undefined || node.permissions === '' ? 'rwm' : node.permissions;
  if (type === 'p' || access === 'none') return { device, rules: [] };
  return { device, rules: [{ allow: true, type, major, minor, access }] };
}

interface DeviceNumbers {
  readonly type: 'c' | 'b' | 'p';
  readonly major: number;
  readonly minor: number;
}

async function numbersOf({
  path,
  hostPath = path,
  type: said = '',
  major,
  minor,
}: DeviceNode): Promise<DeviceNumbers> {
  const type = said === 'u' ? 'c' : said;
  if (type === 'p') return { type, major: 0, minor: 0 };
  if (type !== '' && major !== undefined && minor !== undefined) return { type, major, minor };
  const found = await lookUp(hostPath);
  if (type !== '' && found.type !== type)
    throw new RuntimeError('FailedPrecondition', `device node ${hostPath}`, {
      cause: `is not of type ${said}`,
    });
  return { type: found.type, major: major ?? found.major, minor: minor ?? found.minor };
}

async function lookUp(hostPath: string): Promise<DeviceNumbers> {
  const op = `device node ${hostPath}`;
  try {
    const stats = await stat(hostPath);
    if (stats.isFIFO()) return { type: 'p', major: 0, minor: 0 };
    if (!stats.isCharacterDevice() && !stats.isBlockDevice())
      throw new RuntimeError('FailedPrecondition', 'is no device');
    return { type: stats.isBlockDevice() ? 'b' : 'c', ...deviceNumber(stats.rdev) };
  } catch (error) {
    const { code } = wrapError(op, error);
    // NotFound would be taken for the container's.
    throw new RuntimeError(code === 'NotFound' ? 'FailedPrecondition' : code, op, { cause: error });
  }
}
