import { RuntimeError } from '../../runtime/errors.js';
import type { Container } from '../../runtime/container/types.js';
import type { Sandbox } from '../../runtime/sandbox/types.js';
import type { IdMapping } from '../../runtime/spec/types.js';
import type { PodMetadata, WorkloadMetadata } from './names.js';

/**
 * What the runtime keeps for us with a sandbox or container and never looks at: the parts of the CRI configuration that
 * answers need. It lives in records on disk, so it is plain JSON and only ever grows.
 */
export interface PodClient {
  readonly version: 1;
  readonly metadata: PodMetadata;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly logDirectory: string;
  /** Whether privileged containers may run in it. */
  readonly privileged: boolean;
}

export interface ContainerClient {
  readonly version: 1;
  readonly metadata: WorkloadMetadata;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly image: ImageClient;
  readonly mounts: readonly MountClient[];
  readonly supplementalGroups: readonly number[];
}

/** The image as the client named it. */
export interface ImageClient {
  readonly image: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly userSpecifiedImage: string;
  readonly runtimeHandler: string;
}

export interface MountClient {
  readonly containerPath: string;
  readonly hostPath: string;
  readonly readonly: boolean;
  readonly selinuxRelabel: boolean;
  /** Number of the CRI's MountPropagation. */
  readonly propagation: number;
  readonly recursiveReadOnly: boolean;
  readonly mountOptions: readonly string[];
  readonly uidMappings?: readonly IdMapping[];
  readonly gidMappings?: readonly IdMapping[];
  /** What was mounted instead of the host path. */
  readonly image?: {
    readonly reference: string;
    /** The same by digest. */
    readonly digest: string;
    readonly subPath: string;
  };
}

/** @throws DataLoss if the record is not one of ours */
export function podClientOf(sandbox: Pick<Sandbox, 'id' | 'request'>): PodClient {
  return checkVersion(sandbox.id, sandbox.request.client) as PodClient;
}

/** @throws DataLoss if the record is not one of ours */
export function containerClientOf(container: Pick<Container, 'id' | 'request'>): ContainerClient {
  return checkVersion(container.id, container.request.client) as ContainerClient;
}

function checkVersion(id: string, client: unknown): unknown {
  if (typeof client === 'object' && client !== null && 'version' in client && client.version === 1)
    return client;
  throw new RuntimeError('DataLoss', `record of ${id}`, { cause: 'was not written by this version' });
}
