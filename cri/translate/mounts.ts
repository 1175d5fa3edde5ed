import { type Mount as CriMount, MountPropagation } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Mount } from '../../runtime/spec/types.js';
import {
  checkAbsolutePath,
  checkCount,
  checkText,
  quote,
  refuse,
  unknownEnum,
  unsupported,
} from './check.js';

const maxMounts = 2000;

/** A mount the client asks for, checked. Its source is not looked at yet. */
export interface VolumeMount {
  readonly containerPath: string;
  readonly hostPath: string;
  readonly readonly: boolean;
  readonly recursiveReadOnly: boolean;
  readonly propagation: 'private' | 'slave' | 'shared';
  /** nodev, noexec, nosuid. */
  readonly options: readonly string[];
}

/**
 * @throws InvalidArgument for relative paths, `..`, contradictory flags; Unimplemented for id mappings and image volumes
 */
export function toVolumeMounts(mounts: readonly CriMount[]): readonly VolumeMount[] {
  checkCount('config.mounts', mounts, maxMounts);
  return mounts.map((mount, index) => toVolumeMount(`config.mounts[${index}]`, mount));
}

function toVolumeMount(field: string, mount: CriMount): VolumeMount {
  if (mount.image !== undefined && mount.image.image !== '')
    throw unsupported(`${field}.image`, 'image volumes are');
  if (mount.imageSubPath !== '') throw unsupported(`${field}.image_sub_path`, 'image volumes are');
  if (mount.uidMappings.length + mount.gidMappings.length > 0) {
    throw unsupported(`${field}.uidMappings`, 'id-mapped mounts are');
  }
  const containerPath = checkAbsolutePath(`${field}.container_path`, mount.containerPath);
  if (containerPath === '/') throw refuse(`${field}.container_path`, 'must not be the root of the container');
  const propagation = toPropagation(`${field}.propagation`, mount.propagation);
  if (mount.recursiveReadOnly) {
    if (!mount.readonly) throw refuse(`${field}.recursive_read_only`, 'needs readonly');
    if (propagation !== 'private') throw refuse(`${field}.recursive_read_only`, 'needs private propagation');
  }
  return {
    containerPath,
    hostPath: checkAbsolutePath(`${field}.host_path`, mount.hostPath),
    readonly: mount.readonly,
    recursiveReadOnly: mount.recursiveReadOnly,
    propagation,
    options: toOptions(`${field}.mount_options`, mount.mountOptions),
  };
}

function toPropagation(field: string, propagation: MountPropagation): VolumeMount['propagation'] {
  switch (propagation) {
    case MountPropagation.PROPAGATION_PRIVATE:
      return 'private';
    case MountPropagation.PROPAGATION_HOST_TO_CONTAINER:
      return 'slave';
    case MountPropagation.PROPAGATION_BIDIRECTIONAL:
      return 'shared';
    default:
      throw unknownEnum(field, propagation);
  }
}

const knownOptions: readonly string[] = ['nodev', 'noexec', 'nosuid'];

function toOptions(field: string, options: readonly string[]): readonly string[] {
  options.forEach((option, index) => {
    checkText(`${field}[${index}]`, option);
    if (!knownOptions.includes(option)) {
      throw refuse(`${field}[${index}]`, `must be one of ${knownOptions.join(', ')}, not ${quote(option)}`);
    }
  });
  return [...new Set(options)];
}

/** What every container has, unless it mounts something there itself. */
export function defaultMounts(privileged: boolean): readonly Mount[] {
  const access = privileged ? 'rw' : 'ro';
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', access] },
    {
      destination: '/sys/fs/cgroup',
      type: 'cgroup',
      source: 'cgroup',
      options: ['nosuid', 'noexec', 'nodev', 'relatime', access],
    },
  ];
}

/**
 * All mounts of a container in the order they are made: ours first, then the client's, parents before what lies below
 * them. A default whose place or parent directory the client mounts over is left out.
 */
export function toMounts(volumes: readonly VolumeMount[], privileged: boolean): readonly Mount[] {
  const taken = new Set(volumes.map((volume) => volume.containerPath));
  const defaults = defaultMounts(privileged).filter(
    ({ destination }) =>
      !taken.has(destination) &&
      !(taken.has('/dev') && destination.startsWith('/dev/')) &&
      !(taken.has('/sys') && destination.startsWith('/sys/')),
  );
  const own = volumes.map(toMount).sort((a, b) => depth(a.destination) - depth(b.destination));
  return [...defaults, ...own];
}

function toMount(volume: VolumeMount): Mount {
  const { containerPath, hostPath, propagation, readonly, recursiveReadOnly, options } = volume;
  const access = recursiveReadOnly ? 'rro' : readonly ? 'ro' : 'rw';
  return {
    destination: containerPath,
    type: 'bind',
    source: hostPath,
    options: ['rbind', `r${propagation}`, access, ...options],
  };
}

function depth(destination: string): number {
  return destination.split('/').length;
}

/** Propagation of the root mount: what the volumes need to hear of. */
export function rootfsPropagation(volumes: readonly VolumeMount[]): string {
  const has = (propagation: VolumeMount['propagation']): boolean =>
    volumes.some((volume) => volume.propagation === propagation);
  if (has('shared')) return 'rshared';
  return has('slave') ? 'rslave' : 'rprivate';
}

/** Places whose content decides what a container may do: an image must not put a volume there. */
const reserved: readonly string[] = ['/', '/proc', '/sys', '/dev'];

/** Destinations of the image's VOLUMEs that the client does not mount itself. */
export function toImageVolumes(
  imageVolumes: readonly string[],
  volumes: readonly VolumeMount[],
): readonly string[] {
  const field = 'volume of the image';
  checkCount(`${field}s`, imageVolumes, maxMounts);
  const taken = new Set(volumes.map((volume) => volume.containerPath));
  const places = imageVolumes.map((place) =>
    checkAbsolutePath(field, place.startsWith('/') ? place : `/${place}`),
  );
  for (const place of places) {
    if (reserved.some((prefix) => place === prefix || (prefix !== '/' && place.startsWith(`${prefix}/`)))) {
      throw refuse(field, `must not be ${quote(place)}`);
    }
  }
  return [...new Set(places)].filter((place) => !taken.has(place));
}
