import { constants } from 'node:fs';
import path from 'node:path';
import {
  bpfAttachCgroupDevice,
  bpfDetachCgroupDevice,
  bpfLoadCgroupDevice,
  bpfQueryCgroupDevice,
  closeFd,
  openat2,
  readFilesSync,
} from '../../native/index.js';
import { RuntimeError, isErrno } from '../errors.js';
import type { Resources } from '../spec/types.js';
import { deviceProgram } from './device-program.js';
import { completeDeviceRules, deviceWritesV1, foldDeviceRules } from './devices.js';
import { hierarchyOf, type CgroupLayout } from './layout.js';
import { valuesV1, type ControlValue } from './values-v1.js';
import { valuesV2 } from './values-v2.js';

const AT_FDCWD = -100;

/** Limits as the files of one cgroup that they are written to. */
export interface LimitOperations {
  readonly operations: readonly { readonly op: 'write'; readonly path: string; readonly data: string }[];
  /** Device rules that no file takes: a BPF program on the unified directory. */
  attachDevices(): Promise<void>;
}

/**
 * Turns OCI limits into writes. Directories are by controller, "" is the unified tree.
 * @throws FailedPrecondition for a limit whose controller this host lacks, InvalidArgument for a senseless one
 */
export function limitOperations(
  layout: CgroupLayout,
  directories: ReadonlyMap<string, string>,
  resources: Resources,
): LimitOperations {
  const values = layout.mode === 'v2' ? valuesV2(resources) : valuesV1(resources);
  const operations: { op: 'write'; path: string; data: string }[] = [];
  for (const value of values) {
    const file = fileOf(layout, directories, value);
    if (file !== undefined) operations.push({ op: 'write', path: file, data: value.value });
  }
  const rules = completeDeviceRules(resources.devices);
  const devices = hierarchyOf(layout, 'devices') === undefined ? undefined : directories.get('devices');
  if (devices !== undefined) {
    for (const { file, value } of deviceWritesV1(rules))
      operations.push({ op: 'write', path: path.join(devices, file), data: value });
  }
  const unified = directories.get('');
  return {
    operations,
    attachDevices: async () => {
      if (rules.length === 0 || devices !== undefined || unified === undefined) return;
      attachProgram(unified, deviceProgram(foldDeviceRules(rules)));
    },
  };
}

function fileOf(
  layout: CgroupLayout,
  directories: ReadonlyMap<string, string>,
  { controller, file, optional }: ControlValue,
): string | undefined {
  const directory = layout.mode === 'v2' ? directories.get('') : directories.get(controller);
  const available =
    layout.mode === 'v2' ? layout.unifiedControllers.has(controller) : directory !== undefined;
  if (directory === undefined || !available) {
    if (optional === true) return undefined;
    throw new RuntimeError('FailedPrecondition', `this host has no ${controller} cgroup controller`, {
      cause: `${file} cannot be set`,
    });
  }
  if (optional === true && !isKnown(layout, file, directory)) return undefined;
  return path.join(directory, file);
}

/** By layout and file: whether this kernel has it. */
const knownFiles = new Map<string, boolean>();

/**
 * Whether the kernel has this control file, which is looked up once, in the directory itself or, where that is still to be
 * made, in its parent. Of a file that cannot be read there is an error other than ENOENT.
 */
function isKnown(layout: CgroupLayout, file: string, directory: string): boolean {
  const key = `${layout.mode} ${file}`;
  const seen = knownFiles.get(key);
  if (seen !== undefined) return seen;
  const parent = path.dirname(directory);
  const [own, above, parentItself] = readFilesSync([
    path.join(directory, file),
    path.join(parent, file),
    path.join(parent, 'cgroup.procs'),
  ]).map((found) => !isErrno(found, 'ENOENT'));
  const known = own === true || above === true;
  // The root of a hierarchy lacks files that all others have.
  const isRoot = parent === layout.unified || layout.v1.some(({ mountpoint }) => mountpoint === parent);
  if (known || (parentItself === true && !isRoot)) knownFiles.set(key, known);
  return known;
}

/** Puts one device program on a unified directory in place of those that were there. */
function attachProgram(directory: string, program: Uint8Array): void {
  const cgroupFd = openat2(AT_FDCWD, directory, { flags: constants.O_RDONLY | constants.O_DIRECTORY });
  try {
    const old = bpfQueryCgroupDevice(cgroupFd);
    const programFd = bpfLoadCgroupDevice(program);
    try {
      bpfAttachCgroupDevice(cgroupFd, programFd);
      for (const fd of old) bpfDetachCgroupDevice(cgroupFd, fd);
    } finally {
      closeFd(programFd);
      for (const fd of old) closeFd(fd);
    }
  } finally {
    closeFd(cgroupFd);
  }
}
