import { constants } from 'node:fs';
import { mkdir, mkdtemp, rmdir } from 'node:fs/promises';
import path from 'node:path';
import {
  closeFd,
  fsconfigCreate,
  fsconfigSet,
  fsmount,
  fsopen,
  mount,
  openat2,
  openTree,
  umount,
  type Fd,
} from '../../native/index.js';
import { isErrno } from '../errors.js';
import * as flags from './open-flags.js';

/**
 * A read-only tree of layer directories, the top one first, as one descriptor that no mount table shows and whose
 * closing ends it.
 *
 * `lowerdir+` is known from Linux 6.7 on; before, all directories must fit the page that mount(2) takes, hence the
 * short form of their paths (see {@link LowerDirectory}).
 */
export async function openReadOnlyTree(lower: readonly LowerDirectory[], scratchDir: string): Promise<Fd> {
  const [only, ...others] = lower;
  if (only !== undefined && others.length === 0) return openDirectory(lowerPath(only));
  return openDetachedOverlay(lower) ?? (await mountAndDetach(lower, scratchDir));
}

/** A directory as a path from an open one: long names of the root cost nothing. */
export interface LowerDirectory {
  readonly directoryFd: Fd;
  readonly name: string;
}

function lowerPath({ directoryFd, name }: LowerDirectory): string {
  return `/proc/self/fd/${directoryFd}/${name}`;
}

export function openDirectory(directory: string): Fd {
  const how = flags.O_PATH | flags.O_CLOEXEC | constants.O_DIRECTORY | constants.O_NOFOLLOW;
  return openat2(flags.AT_FDCWD, directory, { flags: how });
}

/** Undefined where the kernel wants all lower directories in one option. */
function openDetachedOverlay(lower: readonly LowerDirectory[]): Fd | undefined {
  const fs = fsopen('overlay');
  try {
    for (const [index, directory] of lower.entries()) {
      try {
        fsconfigSet(fs, 'lowerdir+', lowerPath(directory));
      } catch (error) {
        if (index === 0 && isErrno(error, 'EINVAL')) return undefined;
        throw error;
      }
    }
    fsconfigCreate(fs);
    const { MOUNT_ATTR_RDONLY, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOEXEC } = flags;
    return fsmount(fs, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
  } finally {
    closeFd(fs);
  }
}

/** Linux before 6.7: mounted for a moment on a private directory, taken as a detached copy, unmounted. */
export async function mountAndDetach(lower: readonly LowerDirectory[], scratchDir: string): Promise<Fd> {
  await mkdir(scratchDir, { recursive: true, mode: 0o700 });
  const target = await mkdtemp(path.join(scratchDir, 'view-'));
  try {
    const { MS_RDONLY, MS_NODEV, MS_NOSUID, MS_NOEXEC } = flags;
    const data = `lowerdir=${lower.map(lowerPath).join(':')}`;
    mount('overlay', target, 'overlay', MS_RDONLY | MS_NODEV | MS_NOSUID | MS_NOEXEC, data);
    try {
      return openTree(flags.AT_FDCWD, target, 0);
    } finally {
      umount(target, flags.MNT_DETACH);
    }
  } finally {
    await rmdir(target);
  }
}
