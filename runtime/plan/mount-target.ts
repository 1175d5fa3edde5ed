import path from 'node:path';
import type { Mount } from '../spec/types.js';
import type { Draft } from './draft.js';
import type { ContainerPlanOptions } from './options.js';
import type { Slot } from './steps.js';
import type { IdMaps } from './user-namespace.js';

/** A directory that every host has and every user may search: a root is attached on it in a mount namespace of its own. */
export const ROOT_MOUNTPOINT = '/tmp';

/** Where a container's mounts go while its plan is compiled. */
export interface MountTarget {
  readonly draft: Draft;
  /** The rootfs mount. */
  readonly root: Slot;
  /** For descriptors that the very next steps use up. */
  readonly scratch: Slot;
  /** pidfd of the sandbox' pause process. */
  readonly pause: Slot | undefined;
  /** Of the user namespace, if the container has one. */
  readonly maps: IdMaps | undefined;
  readonly options: ContainerPlanOptions;
}

export function isBelow(inner: string, outer: string): boolean {
  return inner === outer || inner.startsWith(outer === '/' ? '/' : `${outer}/`);
}

export function destinationOf({ destination }: Mount): string {
  const normal = path.posix.normalize(destination);
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
}
