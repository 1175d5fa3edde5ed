/**
 * The launch plan as TypeScript: what the helper does, step by step, between fork and execve.
 *
 * `parent` steps run in the launcher, in the host's namespaces; its `clone` makes the child, which runs the `child`
 * steps and becomes the command or the pause process. A step is one system call's worth of work on numbered
 * descriptors ({@link Slot}) that one step fills and another uses; filling a slot again closes what was in it. The wire
 * format is native/helper/plan_format.h, the encoder wire.ts; a test holds them equal. Kinds are the header's names in
 * lower case.
 *
 * `about` says in the user's words what the step is for ("mount /data (bind from /srv/data)"); it stays in the daemon
 * and becomes the error's text when the step fails (explain.ts).
 */
export interface Plan {
  readonly parent: readonly PlanStep[];
  readonly child: readonly PlanStep[];
}

/** Index into the launch's descriptor table. */
export type Slot = number;

/** Slots that whoever launches fills; the plan's own start at `free`. */
export const slots = {
  stdin: 0,
  stdout: 1,
  stderr: 2,
  /** The exec fifo, a pipe to read from; absent in an exec. */
  execFifo: 3,
  /** Connected unix socket that receives the pty master. */
  console: 4,
  /** Descriptors the daemon passed with the plan, in order. */
  passed: 8,
  free: 16,
} as const;

/** As in plan_format.h: PLAN_MAX_SLOTS. */
export const maxSlots = 2048;

interface Step<Kind extends string> {
  readonly kind: Kind;
  readonly about?: string | undefined;
}

/** openat2(2); without `dir` relative to the working directory. */
export interface OpenStep extends Step<'open'> {
  readonly out: Slot;
  readonly dir?: Slot | undefined;
  readonly path: string;
  readonly flags: number;
  readonly mode?: number | undefined;
  readonly resolve?: number | undefined;
}

/** One write(2) of the whole content. */
export interface WriteStep extends Step<'write'> {
  readonly slot: Slot;
  readonly data: Uint8Array;
}

export interface CloseStep extends Step<'close'> {
  readonly slot: Slot;
}

/** A detached copy of a mount; a symlink is followed. */
export interface OpenTreeStep extends Step<'open-tree'> {
  readonly out: Slot;
  readonly dir?: Slot | undefined;
  readonly path: string;
  readonly recursive: boolean;
}

/** The same inside the mount namespace of the process behind `pidfd`. */
export interface OpenTreeInStep extends Step<'open-tree-in'> {
  readonly out: Slot;
  readonly pidfd: Slot;
  readonly path: string;
}

/** fsopen, fsconfig, fsmount. */
export interface FsMountStep extends Step<'fs-mount'> {
  readonly out: Slot;
  readonly type: string;
  readonly source?: string | undefined;
  /** "key" or "key=value". */
  readonly options: readonly string[];
  /** MOUNT_ATTR_*. */
  readonly attributes: number;
}

export interface OverlayStep extends Step<'overlay'> {
  readonly out: Slot;
  readonly layersDir: string;
  /** Names below `layersDir`, the top layer first. */
  readonly lower: readonly string[];
  /** Absent: read-only. */
  readonly upper?: string | undefined;
  readonly work?: string | undefined;
  readonly options: readonly string[];
  readonly attributes: number;
}

/** An overlay whose layers are idmapped, and whose upper directory gets the owner that the maps make of its present one. */
export interface IdmappedOverlayStep extends Step<'idmapped-overlay'>, Omit<OverlayStep, 'kind'> {
  readonly userNamespace: Slot;
}

export interface MountSetattrStep extends Step<'mount-setattr'> {
  readonly slot: Slot;
  readonly recursive: boolean;
  /** MOUNT_ATTR_* to set and to clear. */
  readonly set: number;
  readonly clear: number;
  /** MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE; 0 leaves it. */
  readonly propagation: number;
  /** The user namespace whose maps an idmapped mount uses. */
  readonly userNamespace?: Slot | undefined;
}

/** Attaches a mount at `path` below the mount of `root` (absent: a host path). */
export interface MoveMountStep extends Step<'move-mount'> {
  readonly slot: Slot;
  readonly root?: Slot | undefined;
  readonly path: string;
  /** What to make if nothing is there; `same`: what the root of the mount is. */
  readonly create: 'no' | 'directory' | 'file' | 'same';
}

export interface UnmountStep extends Step<'unmount'> {
  readonly root?: Slot | undefined;
  readonly path: string;
  /** MNT_* */
  readonly flags: number;
}

/** With parents; existing is fine. */
export interface MkdirStep extends Step<'mkdir'> {
  readonly root: Slot;
  readonly path: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Replaces an existing file or link. */
export interface SymlinkStep extends Step<'symlink'> {
  readonly root: Slot;
  readonly path: string;
  readonly target: string;
}

export interface MakeDeviceStep extends Step<'make-device'> {
  readonly root: Slot;
  readonly path: string;
  /** Permission bits and the type (S_IFCHR, S_IFBLK, S_IFIFO). */
  readonly mode: number;
  readonly major: number;
  readonly minor: number;
  readonly uid: number;
  readonly gid: number;
}

/** A new or replaced regular file. */
export interface FileStep extends Step<'file'> {
  readonly root: Slot;
  readonly path: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly content: Uint8Array;
}

/** The mount of the slot becomes a detached copy of a directory in it; links are resolved inside it. */
export interface SubTreeStep extends Step<'sub-tree'> {
  readonly slot: Slot;
  readonly path: string;
}

/** clone3 with CLONE_PARENT; exactly once in a plan that has child steps. */
export interface CloneStep extends Step<'clone'> {
  /** CLONE_NEW* */
  readonly flags: number;
  /** cgroup v2 directory for CLONE_INTO_CGROUP. */
  readonly cgroup?: Slot | undefined;
}

/** The child's maps, in the lines of /proc/PID/uid_map. */
export interface IdMapStep extends Step<'id-map'> {
  readonly uidMap: string;
  readonly gidMap: string;
  readonly denySetgroups: boolean;
}

/** Both lists wait for each other here; tokens in the same order on both sides. */
export interface SyncStep extends Step<'sync'> {
  readonly token: number;
}

/** Bind mount of /proc/CHILD/ns/NAME on a new file. */
export interface PinNamespaceStep extends Step<'pin-namespace'> {
  readonly name: string;
  readonly path: string;
}

/** The child's; where lowering is not allowed the launcher's own value stays and is logged. */
export interface OomScoreAdjStep extends Step<'oom-score-adj'> {
  readonly value: number;
}

/** pidfd_open(2), refused (ESRCH) if the process has another start time. */
export interface OpenPidStep extends Step<'open-pid'> {
  readonly out: Slot;
  readonly pid: number;
  /** Clock ticks, /proc/PID/stat field 22; 0n is not checked. */
  readonly startTime: bigint;
}

/** A user namespace made for its maps only. */
export interface UserNamespaceStep extends Step<'user-namespace'> {
  readonly out: Slot;
  readonly uidMap: string;
  readonly gidMap: string;
}

/** Slots 0-2 that are pipes become this user's of the host, which the child in a user namespace cannot do. */
export interface StdioOwnerStep extends Step<'stdio-owner'> {
  readonly uid: number;
  readonly gid: number;
}

/** lchown(2) of a path of the host. */
export interface ChownStep extends Step<'chown'> {
  readonly path: string;
  readonly uid: number;
  readonly gid: number;
}

export interface UnshareStep extends Step<'unshare'> {
  /** CLONE_NEW* */
  readonly flags: number;
}

/** setns(2) by a namespace file or a pidfd. */
export interface JoinStep extends Step<'join'> {
  readonly slot: Slot;
  /** CLONE_NEW* */
  readonly flags: number;
}

/**
 * Enters a pid namespace that others use: closes every slot but stdio, fifo and console, joins and forks; the fork goes
 * on with the next step.
 */
export interface JoinPidStep extends Step<'join-pid'> {
  readonly slot: Slot;
}

/** mount(NULL, path, NULL, flags) */
export interface PropagationStep extends Step<'propagation'> {
  readonly path: string;
  /** MS_REC and one of MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE. */
  readonly flags: number;
}

export interface PivotRootStep extends Step<'pivot-root'> {
  readonly slot: Slot;
  /** `move`: MS_MOVE and chroot, where the host's root cannot be pivoted. */
  readonly mode: 'pivot' | 'move';
}

export interface HostnameStep extends Step<'hostname'> {
  readonly name: string;
}

export interface DomainnameStep extends Step<'domainname'> {
  readonly name: string;
}

/** Written through a procfs of the helper's own. */
export interface SysctlStep extends Step<'sysctl'> {
  readonly key: string;
  readonly value: string;
}

/** /dev/null over a file, an empty read-only tmpfs over a directory; missing is fine. */
export interface MaskStep extends Step<'mask'> {
  readonly root: Slot;
  readonly path: string;
}

/** Bind on itself, then read-only; missing is fine. */
export interface ReadOnlyStep extends Step<'read-only'> {
  readonly root: Slot;
  readonly path: string;
}

/** Copies a directory of `root` into the detached tmpfs of `slot`. */
export interface CopyUpStep extends Step<'copy-up'> {
  readonly slot: Slot;
  readonly root: Slot;
  readonly path: string;
}

/** Launcher only; the peer is made in the child's network namespace. */
export interface LinkVethStep extends Step<'link-veth'> {
  readonly name: string;
  readonly peer: string;
  /** 6 bytes, or empty for one of the kernel's choice. */
  readonly mac: Uint8Array;
  readonly peerMac: Uint8Array;
  /** 0: the default. */
  readonly mtu: number;
}

/** Existing is fine. */
export interface LinkBridgeStep extends Step<'link-bridge'> {
  readonly name: string;
  readonly mac: Uint8Array;
  readonly mtu: number;
}

export interface LinkSetStep extends Step<'link-set'> {
  readonly name: string;
  readonly state: 'leave' | 'up' | 'down';
  /** Bridge to join; empty: leave. */
  readonly master: string;
  readonly hairpin: boolean;
}

/** Missing is fine. */
export interface LinkDeleteStep extends Step<'link-delete'> {
  readonly name: string;
}

/** Existing is fine. */
export interface AddressStep extends Step<'address'> {
  readonly link: string;
  /** 4 or 16 bytes. */
  readonly address: Uint8Array;
  readonly prefixLength: number;
}

export interface RouteStep extends Step<'route'> {
  readonly link: string;
  /** Empty: the default route. */
  readonly destination: Uint8Array;
  readonly prefixLength: number;
  /** Empty: none. */
  readonly gateway: Uint8Array;
}

export type SetsidStep = Step<'setsid'>;

/** A session keyring; one of that name is joined if it exists. */
export interface KeyringStep extends Step<'keyring'> {
  readonly name: string;
}

/** Where the hard limit cannot be raised the present one stays and is logged. */
export interface RlimitStep extends Step<'rlimit'> {
  /** RLIMIT_* */
  readonly resource: number;
  readonly soft: bigint;
  readonly hard: bigint;
}

/** Drops from the bounding set what is not in the mask. */
export interface CapBoundingStep extends Step<'cap-bounding'> {
  readonly mask: bigint;
}

/** setgroups, setresgid, setresuid; permitted capabilities are kept. */
export interface UserStep extends Step<'user'> {
  readonly uid: number;
  readonly gid: number;
  readonly umask?: number | undefined;
  readonly groups: readonly number[];
  /** setgroups is denied in this user namespace: leave the groups alone. */
  readonly keepGroups?: boolean | undefined;
}

export interface CapabilitiesStep extends Step<'capabilities'> {
  readonly effective: bigint;
  readonly permitted: bigint;
  readonly inheritable: bigint;
  readonly ambient: bigint;
}

export type NoNewPrivsStep = Step<'no-new-privs'>;

export interface SeccompStep extends Step<'seccomp'> {
  /** SECCOMP_FILTER_FLAG_* */
  readonly flags: number;
  /** Array of struct sock_filter. */
  readonly bpf: Uint8Array;
  /** Unix socket that receives the listener. */
  readonly listener?: Slot | undefined;
  readonly listenerMetadata: Uint8Array;
}

/** Profile of the next execve. */
export interface ApparmorStep extends Step<'apparmor'> {
  readonly profile: string;
}

/** Label of the next execve. */
export interface SelinuxStep extends Step<'selinux'> {
  readonly label: string;
}

/** The result must lie below the root. */
export interface ChdirStep extends Step<'chdir'> {
  readonly path: string;
  readonly create: boolean;
}

/** Slots 0-2 become descriptors 0-2 and, if they are pipes, the user's. */
export interface StdioStep extends Step<'stdio'> {
  readonly uid: number;
  readonly gid: number;
}

/** A pty of the container's devpts becomes descriptors 0-2 and the controlling terminal. */
export interface ConsoleStep extends Step<'console'> {
  readonly columns: number;
  readonly rows: number;
  readonly uid: number;
  readonly gid: number;
  /** Leaves /dev/console alone, as an exec does. */
  readonly keepDevConsole?: boolean | undefined;
}

/** Reports ready, then blocks until the exec fifo brings a byte. */
export type ExecFifoStep = Step<'exec-fifo'>;

/** execve; everything above 2 + preserve is closed. */
export interface ExecStep extends Step<'exec'> {
  readonly preserve: number;
  readonly argv: readonly string[];
  readonly environment: readonly string[];
}

/** Becomes the pause process: reports ready, drops every capability, reaps until SIGTERM. */
export type PauseStep = Step<'pause'>;

export interface ParentDeathSignalStep extends Step<'parent-death-signal'> {
  readonly signal: number;
}

export type PlanStep =
  | OpenStep
  | WriteStep
  | CloseStep
  | OpenTreeStep
  | OpenTreeInStep
  | FsMountStep
  | OverlayStep
  | IdmappedOverlayStep
  | MountSetattrStep
  | MoveMountStep
  | UnmountStep
  | MkdirStep
  | SymlinkStep
  | MakeDeviceStep
  | FileStep
  | SubTreeStep
  | CloneStep
  | IdMapStep
  | SyncStep
  | PinNamespaceStep
  | OomScoreAdjStep
  | OpenPidStep
  | UserNamespaceStep
  | StdioOwnerStep
  | ChownStep
  | UnshareStep
  | JoinStep
  | JoinPidStep
  | PropagationStep
  | PivotRootStep
  | HostnameStep
  | DomainnameStep
  | SysctlStep
  | MaskStep
  | ReadOnlyStep
  | CopyUpStep
  | LinkVethStep
  | LinkBridgeStep
  | LinkSetStep
  | LinkDeleteStep
  | AddressStep
  | RouteStep
  | SetsidStep
  | KeyringStep
  | RlimitStep
  | CapBoundingStep
  | UserStep
  | CapabilitiesStep
  | NoNewPrivsStep
  | SeccompStep
  | ApparmorStep
  | SelinuxStep
  | ChdirStep
  | StdioStep
  | ConsoleStep
  | ExecFifoStep
  | ExecStep
  | PauseStep
  | ParentDeathSignalStep;

export type StepKind = PlanStep['kind'];
export type StepOf<Kind extends StepKind> = Extract<PlanStep, { kind: Kind }>;
