import type { ContainerMetadata, PodSandboxMetadata } from '../../protos/gen/cri/runtime/v1/api.js';
import { checkText, quote, refuse } from './check.js';

export interface PodMetadata {
  readonly name: string;
  readonly uid: string;
  readonly namespace: string;
  readonly attempt: number;
}

export interface WorkloadMetadata {
  readonly name: string;
  readonly attempt: number;
}

/** @throws InvalidArgument for missing or unprintable parts */
export function toPodMetadata(metadata: PodSandboxMetadata | undefined): PodMetadata {
  if (metadata === undefined) throw refuse('config.metadata', 'is missing');
  return {
    name: checkName('config.metadata.name', metadata.name),
    uid: checkName('config.metadata.uid', metadata.uid),
    namespace: checkName('config.metadata.namespace', metadata.namespace),
    attempt: metadata.attempt,
  };
}

/** @throws InvalidArgument for missing or unprintable parts */
export function toContainerMetadata(metadata: ContainerMetadata | undefined): WorkloadMetadata {
  if (metadata === undefined) throw refuse('config.metadata', 'is missing');
  return { name: checkName('config.metadata.name', metadata.name), attempt: metadata.attempt };
}

/** What no two sandboxes may share. */
export function sandboxName({ name, namespace, uid, attempt }: PodMetadata): string {
  return [name, namespace, uid, attempt].join('_');
}

/** What no two containers may share. */
export function containerName(container: WorkloadMetadata, pod: PodMetadata): string {
  return [container.name, pod.name, pod.namespace, pod.uid, container.attempt].join('_');
}

function checkName(field: string, name: string): string {
  checkText(field, name, { maxBytes: 253 });
  if (!/^[\w.:@-]+$/.test(name)) {
    throw refuse(field, `may contain letters, digits and "_.:@-" only, not ${quote(name)}`);
  }
  return name;
}

const maxLabelsBytes = 256 * 1024;
const maxAnnotationsBytes = 1024 * 1024;

/** Labels are returned verbatim and select; keys must be printable. */
export function checkLabels(labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return checkMap('config.labels', labels, maxLabelsBytes);
}

/** Annotations are returned verbatim; nothing of them reaches the container. */
export function checkAnnotations(
  annotations: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  return checkMap('config.annotations', annotations, maxAnnotationsBytes);
}

function checkMap(field: string, map: Readonly<Record<string, string>>, maxBytes: number) {
  let bytes = 0;
  for (const [key, value] of Object.entries(map)) {
    const entry = `${field}[${quote(key)}]`;
    if (!/^[!-~]{1,512}$/.test(key)) {
      throw refuse(entry, 'a key must be 1 to 512 printable characters without blanks');
    }
    checkText(entry, value, { maxBytes, mayBeEmpty: true, mayHaveControls: true });
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (bytes > maxBytes) throw refuse(field, `must be at most ${maxBytes} bytes in all, not ${bytes}`);
  return map;
}
