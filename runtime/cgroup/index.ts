import { CgroupfsDriver } from './cgroupfs.js';
import { detectLayout } from './layout.js';
import { RuntimeError } from '../errors.js';
import type { CgroupDriver } from './types.js';

/** @throws FailedPrecondition when the host mounts no cgroups, Unimplemented for the systemd driver */
export async function openCgroupDriver(options: {
  readonly driver: 'cgroupfs' | 'systemd';
  readonly parent: string;
}): Promise<CgroupDriver> {
  if (options.driver === 'systemd') throw new RuntimeError('Unimplemented', 'the systemd cgroup driver');
  const layout = await detectLayout();
  if (layout.v1.length === 0 && layout.unified === undefined) {
    throw new RuntimeError('FailedPrecondition', 'no cgroup file system is mounted');
  }
  return new CgroupfsDriver(layout, options.parent);
}
