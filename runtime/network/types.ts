import type { PlanStep } from '../plan/steps.js';

/**
 * Pod networks as the sandbox sees them.
 *
 * Two kinds exist: CNI (conf lists and plugins of the node) and the built-in bridge, which needs no process of its own:
 * its veth, addresses and routes are steps of the pause process' launch plan. A sandbox' network therefore has two
 * moments: `prepare` before the pause process is launched (an address is reserved and its steps handed out), `attach`
 * after its network namespace is pinned. `detach` ends both and may be repeated, also by recovery from the record alone.
 */
export interface NetworkService {
  /** The NetworkReady condition: the message says what is missing. */
  status(): Promise<{ readonly ready: boolean; readonly reason: string; readonly message: string }>;
  /** What is kept in the sandbox' record before anything is made. @throws Unavailable when no network is configured */
  prepare(request: NetworkRequest, signal: AbortSignal): Promise<PreparedNetwork>;
  /** Undoes a prepared or attached network. Safe to repeat; the namespace may be gone. */
  detach(attachment: NetworkAttachment, signal: AbortSignal): Promise<void>;
  /** Recovery: the attachments that live; everything else of this instance is garbage and is freed (addresses, host ports, CNI GC). */
  adopt(living: readonly NetworkAttachment[]): Promise<void>;
  /** UpdateRuntimeConfig: the pool of the built-in network. */
  setPodCidr(cidr: string): Promise<void>;
  close(): Promise<void>;
}

export interface PortMapping {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly containerPort: number;
  readonly hostPort: number;
  readonly hostIp: string;
}

export interface NetworkRequest {
  readonly sandboxId: string;
  /** Where the network namespace will be pinned. */
  readonly netnsPath: string;
  readonly pod: { readonly name: string; readonly namespace: string; readonly uid: string };
  readonly hostname: string;
  readonly portMappings: readonly PortMapping[];
  readonly dns: {
    readonly servers: readonly string[];
    readonly searches: readonly string[];
    readonly options: readonly string[];
  };
  /** Bits per second, from the pod's bandwidth annotations. */
  readonly bandwidth: { readonly ingressRate?: number; readonly egressRate?: number };
  readonly cgroupPath: string;
}

export interface PreparedNetwork {
  /** Goes into the record before the pause process is launched: enough for `detach` after a crash. */
  readonly attachment: NetworkAttachment;
  readonly parentSteps: readonly PlanStep[];
  readonly childSteps: readonly PlanStep[];
  /** Brings the network up in the pinned namespace (CNI ADD; for the built-in one only what the steps could not do). */
  attach(signal: AbortSignal): Promise<NetworkResult>;
}

/** JSON, kept in the sandbox' record. */
export interface NetworkAttachment {
  readonly kind: 'cni' | 'builtin';
  readonly sandboxId: string;
  readonly netnsPath: string;
  /** Private to the network room. */
  readonly data: unknown;
}

/** JSON, kept in the sandbox' state. */
export interface NetworkResult {
  /** The pod's addresses, the primary first. */
  readonly ips: readonly string[];
  readonly interfaces: readonly {
    readonly name: string;
    readonly mac: string;
    readonly ips: readonly string[];
    readonly gateway?: string;
  }[];
  /** The CNI result for `verbose`, if any. */
  readonly raw?: unknown;
  /** DNS settings that the network asks for, used where the pod has none of its own. */
  readonly dns?: {
    readonly servers: readonly string[];
    readonly searches: readonly string[];
    readonly options: readonly string[];
  };
}
