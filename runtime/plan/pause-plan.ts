import { validateHostname, validateSysctls } from '../spec/validate.js';
import { addCgroupJoin } from './cgroup-join.js';
import { sysctlSteps } from './container-plan.js';
import { newDraft, takeSlot } from './draft.js';
import {
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  MS_REC,
  MS_SLAVE,
} from './kernel.js';
import { launchSteps } from './launch.js';
import { ROOT_MOUNTPOINT } from './mount-target.js';
import type { PausePlanOptions } from './options.js';
import type { Plan, PlanStep, Slot } from './steps.js';
import { idMapSteps } from './user-namespace.js';

const restricted = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

/**
 * Compiles the plan of a sandbox' pause process, which holds the namespaces the pod's containers share.
 *
 * With a user namespace, the kernel makes the others inside it: they belong to its root, whoever that is on the host.
 *
 * Its root is an empty read-only tmpfs with the pod's /dev/shm in it: containers of a shared pid namespace reach
 * /proc/1/root, and containers of the pod take their /dev/shm from there. The network's steps of the launcher run once the
 * namespace exists and is pinned, those of the child after them.
 *
 * @throws InvalidArgument naming the sysctl that a shared host namespace forbids, or a bad host name
 */
export function compilePausePlan(options: PausePlanOptions): Plan {
  const { namespaces, hostname, sysctls, network } = options;
  const own = {
    network: namespaces.network === 'pod',
    ipc: namespaces.ipc === 'pod',
    uts: namespaces.network === 'pod',
  };
  validateSysctls(sysctls, { network: own.network, ipc: own.ipc, uts: own.uts }, 'sysctls');
  if (hostname !== '') validateHostname(hostname, 'hostname');
  // The child's steps need what the launcher's have made. (Becoming ready waits for the launcher anyway.)
  const rendezvous: readonly PlanStep[] = network.childSteps.length === 0 ? [] : [{ kind: 'sync', token: 1 }];
  const draft = newDraft();
  const cgroup = addCgroupJoin(draft, options.cgroup);
  const maps = options.userNamespace === undefined ? undefined : idMapSteps(options.userNamespace);
  const [root, shm] = [takeSlot(draft), takeSlot(draft)];
  draft.child.push(
    ...(maps?.child ?? []),
    ...(own.uts && hostname !== ''
      ? [{ kind: 'hostname', name: hostname, about: `set hostname ${hostname}` } as const]
      : []),
    ...sysctlSteps(sysctls),
    ...(own.network ? [loopback] : []),
    ...rootSteps(root, own.ipc ? { slot: shm, sizeBytes: options.shmSizeBytes } : undefined),
    ...rendezvous,
    ...network.childSteps,
    { kind: 'setsid' },
    { kind: 'no-new-privs' },
    { kind: 'pause', about: 'hold the namespaces of the sandbox' },
  );
  draft.parent.push(
    ...launchSteps({
      cloneFlags: cloneFlagsOf(options),
      cgroup,
      oomScoreAdj: options.oomScoreAdj,
      after: [...(maps?.parent ?? []), ...pinSteps(options.pinNetns), ...network.parentSteps, ...rendezvous],
    }),
  );
  return { parent: draft.parent, child: draft.child };
}

const loopback: PlanStep = {
  kind: 'link-set',
  name: 'lo',
  state: 'up',
  master: '',
  hairpin: false,
  about: 'bring lo up',
};

function cloneFlagsOf({ namespaces, userNamespace }: PausePlanOptions): number {
  const { network, ipc, pid } = namespaces;
  return (
    CLONE_NEWNS |
    (userNamespace === undefined ? 0 : CLONE_NEWUSER) |
    (network === 'pod' ? CLONE_NEWNET | CLONE_NEWUTS : 0) |
    (ipc === 'pod' ? CLONE_NEWIPC : 0) |
    (pid === 'pod' ? CLONE_NEWPID : 0)
  );
}

function pinSteps(path: string | undefined): readonly PlanStep[] {
  if (path === undefined) return [];
  return [{ kind: 'pin-namespace', name: 'net', path, about: `pin the network namespace on ${path}` }];
}

function rootSteps(
  root: Slot,
  shm: { readonly slot: Slot; readonly sizeBytes: number } | undefined,
): readonly PlanStep[] {
  const about = "make the sandbox' root";
  return [
    {
      kind: 'fs-mount',
      out: root,
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['size=64k', 'mode=755'],
      attributes: restricted,
      about,
    },
    { kind: 'propagation', path: '/', flags: MS_REC | MS_SLAVE, about },
    { kind: 'move-mount', slot: root, path: ROOT_MOUNTPOINT, create: 'no', about },
    ...(shm === undefined ? [] : shmSteps(root, shm)),
    {
      kind: 'mount-setattr',
      slot: root,
      recursive: false,
      set: MOUNT_ATTR_RDONLY,
      clear: 0,
      propagation: 0,
      about,
    },
    { kind: 'pivot-root', slot: root, mode: 'pivot', about },
  ];
}

function shmSteps(
  root: Slot,
  { slot, sizeBytes }: { readonly slot: Slot; readonly sizeBytes: number },
): readonly PlanStep[] {
  const about = "make the sandbox' /dev/shm";
  const options = [`size=${sizeBytes}`, 'mode=1777'];
  return [
    { kind: 'fs-mount', out: slot, type: 'tmpfs', source: 'shm', options, attributes: restricted, about },
    { kind: 'move-mount', slot, root, path: '/dev/shm', create: 'directory', about },
  ];
}
