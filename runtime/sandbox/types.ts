import type { Duplex } from 'node:stream';
import type { CgroupStats } from '../cgroup/types.js';
import type { NetworkRequest, NetworkResult } from '../network/types.js';
import type { IdMapping, Resources } from '../spec/types.js';

/** A pod's environment: namespaces held by a pause process, a network, a cgroup, the files every container gets. */
export interface Sandbox {
  readonly id: string;
  readonly request: SandboxRequest;
  readonly createdAtNs: bigint;
  readonly state: SandboxState;
  readonly cgroupPath: string;
  /** Where the network namespace is pinned; undefined with the host's network. */
  readonly netnsPath: string | undefined;
  readonly network: NetworkResult | undefined;
  /** Stages of the creation in milliseconds, for `verbose`. */
  readonly timingsMs: Readonly<Record<string, number>>;
  readonly files: SandboxFiles;
  /** As last told; undefined: those of the request. */
  readonly podLimits?: PodLimits | undefined;
}

export type SandboxState =
  | { readonly phase: 'creating' }
  | { readonly phase: 'ready'; readonly pause: ProcessIdentity }
  /** Stopped, or its pause process died. */
  | { readonly phase: 'notready'; readonly message: string }
  | { readonly phase: 'removing' };

/** A pid alone may be another process tomorrow. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks after boot, /proc/PID/stat field 22; decimal text because JSON has no 64-bit numbers. */
  readonly startTime: string;
}

/** What a whole pod may use. Its cgroup is its creator's, who sets these limits there: they are kept and told, no more. */
export interface PodLimits {
  /** What the pod costs beyond its containers. */
  readonly overhead?: Resources | undefined;
  readonly resources?: Resources | undefined;
}

/** Host paths of the files a container gets at /etc/hosts, /etc/hostname, /etc/resolv.conf. */
export interface SandboxFiles {
  readonly hosts: string;
  readonly hostname: string;
  readonly resolvConf: string;
}

/** What the creator asks for. Written once, kept unchanged. */
export interface SandboxRequest {
  /** Reserved until the sandbox is removed; a second request with it is refused while another lives. */
  readonly name: string;
  /** Opaque JSON of the caller, kept with the record (CRI: metadata, labels, annotations, log directory …). */
  readonly client: unknown;
  readonly handler: string;
  readonly namespaces: {
    readonly network: 'pod' | 'host';
    /** `pod`: one pid namespace whose pid 1 is the pause process. */
    readonly pid: 'pod' | 'container' | 'host';
    readonly ipc: 'pod' | 'host';
  };
  /** The user namespace that owns the pod's other namespaces, and that its containers are in; absent: the host's. */
  readonly userNamespace?: UserNamespace | undefined;
  /** Empty: the host's name. With the host's network it is only written to the file. */
  readonly hostname: string;
  readonly sysctls: Readonly<Record<string, string>>;
  readonly cgroupParent: string;
  readonly resources: Resources | undefined;
  readonly podLimits?: PodLimits | undefined;
  readonly files: { readonly hosts: string; readonly resolvConf: string };
  /** Absent with the host's network. */
  readonly network: Omit<NetworkRequest, 'sandboxId' | 'netnsPath' | 'cgroupPath'> | undefined;
}

/** Which ids of the host those in the namespace are. */
export interface UserNamespace {
  readonly uidMappings: readonly IdMapping[];
  readonly gidMappings: readonly IdMapping[];
}

export interface SandboxService {
  /**
   * @param beside what the caller does meanwhile: there is no sandbox without it, its failure is this one's
   * @throws AlreadyExists (name), InvalidArgument, Unavailable (no network) … ; a failure leaves nothing
   */
  run(request: SandboxRequest, signal: AbortSignal, beside?: Promise<unknown>): Promise<Sandbox>;
  /** Kills its containers, takes the network down. Gone or stopped is success. */
  stop(id: string, signal: AbortSignal): Promise<void>;
  /** Stops and forgets it with its containers. Gone is success. */
  remove(id: string, signal: AbortSignal): Promise<void>;
  /** A connection to a port on the loopback of its network. @throws FailedPrecondition unless ready, SystemError of connect(2) */
  portForward(id: string, port: number, signal: AbortSignal): Promise<Duplex>;
  /** Replaces those limits that are given. @throws NotFound, FailedPrecondition unless ready */
  update(id: string, limits: PodLimits): Promise<void>;
  /** By full id or an unambiguous prefix of it. */
  find(idOrPrefix: string): Sandbox | undefined;
  list(): readonly Sandbox[];
  /** Usage of the sandboxes that exist among these ids. */
  stats(ids: readonly string[]): Promise<readonly SandboxStats[]>;
  /** The interfaces alone of those among them. */
  interfaces(ids: readonly string[]): Promise<readonly SandboxInterfaces[]>;
  /** New value of a sandbox, or undefined when it is gone. */
  subscribe(listener: (change: SandboxChange) => void): () => void;
}

export interface SandboxStats {
  readonly sandbox: Sandbox;
  /** Of the whole pod where its creator named a parent cgroup, else of the sandbox alone. */
  readonly cgroup: CgroupStats | undefined;
  /** Without the loopback; empty with the host's network. */
  readonly interfaces: readonly InterfaceCounters[];
  readonly atNs: bigint;
}

export type SandboxInterfaces = Pick<SandboxStats, 'sandbox' | 'interfaces'>;

export interface InterfaceCounters {
  readonly name: string;
  readonly rxBytes: bigint;
  readonly rxPackets: bigint;
  readonly rxErrors: bigint;
  readonly rxDropped: bigint;
  readonly txBytes: bigint;
  readonly txPackets: bigint;
  readonly txErrors: bigint;
  readonly txDropped: bigint;
}

export interface SandboxChange {
  readonly kind: 'created' | 'ready' | 'notready' | 'removed';
  readonly sandbox: Sandbox;
}
