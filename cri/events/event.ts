import { ContainerEventResponse, type ContainerEventType } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Sandbox } from '../../runtime/sandbox/types.js';
import type { Objects } from '../pod-containers.js';
import { containerStatusesOf } from '../pod-containers.js';
import { toCriSandboxStatus } from '../translate/sandbox-answer.js';

/** What has happened to a container, or to a sandbox: then `id` is the sandbox'. */
export interface Happening {
  readonly id: string;
  readonly type: ContainerEventType;
  readonly atNs: bigint;
  /** As it is now; undefined if it is gone. */
  readonly sandbox: Sandbox | undefined;
}

/** The event as it is sent, with the whole pod as it is now. @throws DataLoss for a record that is not ours */
export function encodeEvent({ id, type, atNs, sandbox }: Happening, objects: Objects): Buffer {
  return encode({
    containerId: id,
    containerEventType: type,
    createdAt: atNs,
    podSandboxStatus: sandbox === undefined ? undefined : toCriSandboxStatus(sandbox),
    containersStatuses: sandbox === undefined ? [] : containerStatusesOf(sandbox.id, objects),
  });
}

/** The same without a pod that cannot be described. */
export function encodeBareEvent({ id, type, atNs }: Happening): Buffer {
  return encode({
    containerId: id,
    containerEventType: type,
    createdAt: atNs,
    podSandboxStatus: undefined,
    containersStatuses: [],
  });
}

function encode(event: ContainerEventResponse): Buffer {
  const bytes = ContainerEventResponse.encode(event).finish();
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
