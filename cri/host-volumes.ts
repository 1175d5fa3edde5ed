import { realpath } from 'node:fs/promises';
import type { Rollback } from '../runtime/base/rollback.js';
import { isErrno, wrapCondition } from '../runtime/errors.js';
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
    volumes.map(async (volume) =>
      volume.image === undefined ? { ...volume, hostPath: await resolveSource(volume, rollback) } : volume,
    ),
  );
}

async function resolveSource({ hostPath, containerPath }: VolumeMount, rollback: Rollback): Promise<string> {
  try {
    return await realpath(hostPath).catch(async (error: unknown) => {
      if (!isErrno(error, 'ENOENT')) throw error;
      return makeSource(hostPath, rollback);
    });
  } catch (error) {
    throw wrapCondition(`mount ${containerPath} (bind from ${hostPath})`, error);
  }
}

async function makeSource(hostPath: string, rollback: Rollback): Promise<string> {
  try {
    rollback.add('volume source', await makeHostDirectory(hostPath));
    return await realpath(hostPath);
  } catch (error) {
    throw wrapCondition(`there is no ${hostPath}, and a directory cannot be made there`, error);
  }
}
