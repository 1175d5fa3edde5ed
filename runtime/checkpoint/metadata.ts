import { arch, release } from 'node:os';
import type { CheckpointOptions } from '../container/deps.js';
import type { Image } from '../image/types.js';
import type { CriuVersion } from './criu.js';

/**
 * The JSON files of an archive, by name, in the forms that checkpoint tools read: `config.dump` (what was checkpointed),
 * `spec.dump` (the OCI spec with annotations that name engine, pod and image), `status` (the container's life).
 */
export function describeCheckpoint(
  container: CheckpointOptions,
  image: Image | undefined,
  version: CriuVersion,
): Readonly<Record<'config.dump' | 'spec.dump' | 'status', unknown>> {
  const { id, spec, createdAtNs, startedAtNs, init } = container;
  const imageName = image?.repoTags[0] ?? image?.repoDigests[0] ?? container.imageId;
  const created = rfc3339(createdAtNs);
  const now = new Date().toISOString();
  return {
    'config.dump': {
      id,
      name: container.name,
      rootfsImage: container.imageId,
      rootfsImageRef: image?.repoDigests[0] ?? container.imageId,
      rootfsImageName: imageName,
      runtime: 'podwright',
      createdTime: created,
      checkpointedTime: now,
      restoredTime: '0001-01-01T00:00:00Z',
      restored: false,
    },
    'spec.dump': {
      ...spec,
      annotations: {
        ...spec.annotations,
        'org.criu.checkpoint.engine.name': 'podwright',
        'org.criu.checkpoint.container.name': container.name,
        'org.criu.checkpoint.rootfsImageName': imageName,
        'org.criu.checkpoint.rootfsImageID': container.imageId,
        'org.criu.checkpoint.criu.version': version.text,
        'org.criu.checkpoint.host.arch': arch(),
        'org.criu.checkpoint.host.kernel': release(),
      },
    },
    status: {
      Version: 'v1',
      CreatedAt: createdAtNs.toString(),
      StartedAt: startedAtNs.toString(),
      Pid: init.pid,
      LogPath: container.logPath,
      Client: container.client,
    },
  };
}

function rfc3339(ns: bigint): string {
  return new Date(Number(ns / 1_000_000n)).toISOString();
}
