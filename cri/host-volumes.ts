import { realpath } from 'node:fs/promises';
import type { Rollback } from '../runtime/base/rollback.js';
import { isErrno, wrapError } from '../runtime/errors.js';
import { makeHostDirectory } from './host-directory.js';
import type { VolumeMount } from './translate/mounts.js';

/**
 * Resolves the sources of volumes on the host, before the container exists and can have a hand in it. A missing source
 * becomes a directory, as Kubernetes expects of every runtime.
 */
export function resolveVolumes(
  volumes: readonly VolumeMount[],
  rollback: Rollback,
): Promise<readonly VolumeMount[]> {
  return Promise.all(
    volumes.map(async (volume) => ({ ...volume, hostPath: await resolveSource(volume, rollback) })),
  );
}

async function resolveSource({ hostPath, containerPath }: VolumeMount, rollback: Rollback): Promise<string> {
  try {
    return await realpath(hostPath).catch(async (error: unknown) => {
      if (!isErrno(error, 'ENOENT')) throw error;
      rollback.add('volume source', await makeHostDirectory(hostPath));
      return realpath(hostPath);
    });
  } catch (error) {
    throw wrapError(`mount ${containerPath} (bind from ${hostPath})`, error);
  }
}
