import { mkdir, realpath } from 'node:fs/promises';
import { isErrno, wrapError } from '../runtime/errors.js';
import type { VolumeMount } from './translate/mounts.js';

/**
 * Resolves the sources of volumes on the host, before the container exists and can have a hand in it. A missing source
 * becomes a directory, as Kubernetes expects of every runtime.
 */
export function resolveVolumes(volumes: readonly VolumeMount[]): Promise<readonly VolumeMount[]> {
  return Promise.all(volumes.map(async (volume) => ({ ...volume, hostPath: await resolveSource(volume) })));
}

async function resolveSource({ hostPath, containerPath }: VolumeMount): Promise<string> {
  try {
    return await realpath(hostPath).catch(async (error: unknown) => {
      if (!isErrno(error, 'ENOENT')) throw error;
      await mkdir(hostPath, { recursive: true, mode: 0o755 });
      return realpath(hostPath);
    });
  } catch (error) {
    throw wrapError(`mount ${containerPath} (bind from ${hostPath})`, error);
  }
}
