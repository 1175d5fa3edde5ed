import { RuntimeError } from '../errors.js';
import type { NamespaceType, Spec } from '../spec/types.js';
import { type Draft, takeSlot } from './draft.js';
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
  O_CLOEXEC,
} from './kernel.js';
import type { ContainerPlanOptions } from './options.js';
import type { PlanStep, Slot } from './steps.js';
import { idMapsOf, knowIdMapSlot } from './user-namespace.js';

const cloneFlags: Readonly<Partial<Record<NamespaceType, number>>> = {
  mount: CLONE_NEWNS,
  pid: CLONE_NEWPID,
  network: CLONE_NEWNET,
  ipc: CLONE_NEWIPC,
  uts: CLONE_NEWUTS,
  cgroup: CLONE_NEWCGROUP,
  user: CLONE_NEWUSER,
};

/** Whether the container gets a new namespace of this kind. */
export function hasOwnNamespace(spec: Spec, type: NamespaceType): boolean {
  const namespace = spec.linux?.namespaces?.find((candidate) => candidate.type === type);
  return namespace !== undefined && isNew(namespace.path);
}

/** Whether it has another one than the host's: new or joined. */
export function leavesHostNamespace(spec: Spec, type: NamespaceType): boolean {
  return spec.linux?.namespaces?.some((candidate) => candidate.type === type) === true;
}

function isNew(path: string | undefined): boolean {
  return path === undefined || path === '';
}

/** How a container comes into its namespaces. */
export interface NamespacePlan {
  /** CLONE_NEW* of those that the clone makes. The cgroup namespace is made after the cgroup is joined. */
  readonly cloneFlags: number;
  /** Steps of the child, to be run before it has a mount namespace of its own to leave. */
  readonly joins: readonly PlanStep[];
  /** The pid namespace to be entered last. */
  readonly joinPid: Slot | undefined;
  /** pidfd of the sandbox' pause process. */
  readonly pause: Slot | undefined;
}

type NamespaceOptions = Pick<ContainerPlanOptions, 'spec' | 'sandbox' | 'pidTarget'>;

/**
 * Opens what is joined (in the launcher) and says what is made. New namespaces of a container that joins a user namespace
 * are made by the child inside it, so that they belong to its root.
 *
 * @throws Unimplemented for kinds that cannot be yet
 */
export function planNamespaces(draft: Draft, options: NamespaceOptions): NamespacePlan {
  const { spec, sandbox } = options;
  const namespaces = spec.linux?.namespaces ?? [];
  refuseUnsupported(namespaces);
  const files = openUserFiles(draft, options);
  const pause = sandbox === undefined ? undefined : openProcess(draft, sandbox, "the sandbox' process");
  const joins: PlanStep[] = [];
  let pauseFlags = 0;
  let newFlags = 0;
  let joinPid = pidToJoin(draft, options, pause);
  for (const { type, path = '' } of namespaces) {
    const flag = cloneFlags[type] ?? 0;
    const ofPause = sandbox !== undefined && path.startsWith(`/proc/${sandbox.pid}/ns/`);
    if (type === 'pid' && joinPid !== undefined) continue;
    if (isNew(path)) newFlags |= flag;
    else if (ofPause && type === 'pid') joinPid = pause;
    else if (ofPause) pauseFlags |= flag;
    else {
      const slot = (type === 'user' ? files.user : undefined) ?? openNamespace(draft, type, path);
      if (type === 'pid') joinPid = slot;
      else joins.push({ kind: 'join', slot, flags: flag, about: `join the ${type} namespace ${path}` });
    }
  }
  if (pause !== undefined && pauseFlags !== 0) {
    const about = 'join the namespaces of the sandbox';
    joins.unshift({ kind: 'join', slot: pause, flags: pauseFlags, about });
  }
  // A user namespace first: entering it gives the rights to enter what belongs to it.
  joins.sort((a, b) => Number(entersUser(b)) - Number(entersUser(a)));
  const unshared = files.user === undefined ? newFlags & CLONE_NEWCGROUP : newFlags;
  if (unshared !== 0) {
    const about = unshared === CLONE_NEWCGROUP ? 'make a cgroup namespace' : 'make the namespaces';
    joins.push({ kind: 'unshare', flags: unshared, about });
  }
  return {
    cloneFlags: newFlags & ~unshared,
    joins,
    joinPid: joinPid === undefined ? undefined : (files.pid ?? joinPid),
    pause,
  };
}

function entersUser(step: PlanStep): boolean {
  return step.kind === 'join' && (step.flags & CLONE_NEWUSER) !== 0;
}

/**
 * Files of the namespaces that a container with a user namespace joins: the user namespace itself for its maps, and the pid
 * namespace, which from within a user namespace is not joined by pidfd (that asks for the right to trace the process).
 * They come before the processes are looked for: if those are the ones that are meant, the files were theirs.
 */
function openUserFiles(
  draft: Draft,
  { spec, sandbox, pidTarget }: NamespaceOptions,
): { readonly user: Slot | undefined; readonly pid: Slot | undefined } {
  const maps = idMapsOf(spec);
  const path = spec.linux?.namespaces?.find(({ type }) => type === 'user')?.path;
  if (maps === undefined || path === undefined || path === '') return { user: undefined, pid: undefined };
  const user = openNamespace(draft, 'user', path);
  knowIdMapSlot(draft, maps, user);
  const shared = pidTarget ?? (sandbox?.sharedPid === true ? sandbox : undefined);
  return { user, pid: shared && openNamespace(draft, 'pid', `/proc/${shared.pid}/ns/pid`) };
}

function pidToJoin(
  draft: Draft,
  { sandbox, pidTarget }: NamespaceOptions,
  pause: Slot | undefined,
): Slot | undefined {
  if (pidTarget !== undefined) return openProcess(draft, pidTarget, 'the process of the target container');
  return sandbox?.sharedPid === true ? pause : undefined;
}

function refuseUnsupported(namespaces: NonNullable<NonNullable<Spec['linux']>['namespaces']>): void {
  if (namespaces.some(({ type }) => type === 'time')) {
    throw new RuntimeError('Unimplemented', 'linux.namespaces: time namespaces');
  }
  const mount = namespaces.find(({ type }) => type === 'mount');
  if (mount === undefined || !isNew(mount.path)) {
    throw new RuntimeError('Unimplemented', 'linux.namespaces: a container without a new mount namespace');
  }
}

function openProcess(
  draft: Draft,
  { pid, startTime }: { readonly pid: number; readonly startTime: string },
  whose: string,
): Slot {
  const out = takeSlot(draft);
  draft.parent.push({
    kind: 'open-pid',
    out,
    pid,
    startTime: BigInt(startTime),
    about: `find ${whose} ${pid}`,
  });
  return out;
}

/** A namespace's file, opened by the launcher. */
export function openNamespace(draft: Draft, type: NamespaceType, path: string): Slot {
  const out = takeSlot(draft);
  draft.parent.push({
    kind: 'open',
    out,
    path,
    flags: O_CLOEXEC,
    about: `join the ${type} namespace ${path}`,
  });
  return out;
}

/** Everything but the pid namespace, which an exec enters last; joining one's own again changes nothing. */
export const execNamespaceFlags = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
