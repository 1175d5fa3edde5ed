import { RuntimeError } from '../errors.js';
import type { NamespaceType, Spec } from '../spec/types.js';
import { type Draft, takeSlot } from './draft.js';
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUTS,
  O_CLOEXEC,
} from './kernel.js';
import type { ContainerPlanOptions } from './options.js';
import type { PlanStep, Slot } from './steps.js';

const cloneFlags: Readonly<Partial<Record<NamespaceType, number>>> = {
  mount: CLONE_NEWNS,
  pid: CLONE_NEWPID,
  network: CLONE_NEWNET,
  ipc: CLONE_NEWIPC,
  uts: CLONE_NEWUTS,
  cgroup: CLONE_NEWCGROUP,
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

/** Opens what is joined (in the launcher) and says what is made. @throws Unimplemented for kinds that cannot be yet */
export function planNamespaces(
  draft: Draft,
  { spec, sandbox, pidTarget }: Pick<ContainerPlanOptions, 'spec' | 'sandbox' | 'pidTarget'>,
): NamespacePlan {
  const namespaces = spec.linux?.namespaces ?? [];
  refuseUnsupported(namespaces);
  const pause = sandbox === undefined ? undefined : openProcess(draft, sandbox, "the sandbox' process");
  const joins: PlanStep[] = [];
  let pauseFlags = 0;
  let newFlags = 0;
  let joinPid = sandbox?.sharedPid === true ? pause : undefined;
  if (pidTarget !== undefined) joinPid = openProcess(draft, pidTarget, 'the process of the target container');
  for (const { type, path = '' } of namespaces) {
    const flag = cloneFlags[type] ?? 0;
    const ofPause = sandbox !== undefined && path.startsWith(`/proc/${sandbox.pid}/ns/`);
    if (type === 'pid' && joinPid !== undefined) continue;
    if (isNew(path)) newFlags |= flag;
    else if (ofPause && type === 'pid') joinPid = pause;
    else if (ofPause) pauseFlags |= flag;
    else {
      const slot = openNamespace(draft, type, path);
      if (type === 'pid') joinPid = slot;
      else joins.push({ kind: 'join', slot, flags: flag, about: `join the ${type} namespace ${path}` });
    }
  }
  if (pause !== undefined && pauseFlags !== 0) {
    joins.unshift({
      kind: 'join',
      slot: pause,
      flags: pauseFlags,
      about: 'join the namespaces of the sandbox',
    });
  }
  if ((newFlags & CLONE_NEWCGROUP) !== 0) {
    joins.push({ kind: 'unshare', flags: CLONE_NEWCGROUP, about: 'make a cgroup namespace' });
  }
  return { cloneFlags: newFlags & ~CLONE_NEWCGROUP, joins, joinPid, pause };
}

function refuseUnsupported(namespaces: NonNullable<NonNullable<Spec['linux']>['namespaces']>): void {
  const unsupported = namespaces.find(({ type }) => type === 'user' || type === 'time');
  if (unsupported !== undefined) {
    throw new RuntimeError('Unimplemented', `linux.namespaces: ${unsupported.type} namespaces`);
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

function openNamespace(draft: Draft, type: NamespaceType, path: string): Slot {
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
