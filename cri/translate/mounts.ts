import { type Mount as CriMount, MountPropagation } from '../../protos/gen/cri/runtime/v1/api.js';
import type { UserNamespace } from '../../runtime/sandbox/types.js';
import type { Mount } from '../../runtime/spec/types.js';
import { checkAbsolutePath, checkCount, checkText, quote, refuse, unknownEnum } from './check.js';
import { toMountMappings } from './user-namespace.js';

const maxMounts = 2000;

/** A mount the client asks for, checked. Its source is not looked at yet. */
export interface VolumeMount {
  readonly containerPath: string;
  /** Empty for the content of an image. */
  readonly hostPath: string;
  readonly image?: ImageVolume | undefined;
  readonly readonly: boolean;
  readonly recursiveReadOnly: boolean;
  readonly propagation: 'private' | 'slave' | 'shared';
  /** nodev, noexec, nosuid. */
  readonly options: readonly string[];
  /** Absent: the ids are those on disk. */
  readonly idMaps?: UserNamespace | undefined;
}

/** The image whose content is mounted instead of a path of the host. */
export interface ImageVolume {
  readonly reference: string;
  /** Directory inside it, as the client wrote it; empty: its root. */
  readonly subPath: string;
  /** What the reference means; known once the image was looked up. */
  readonly found?: FoundImage | undefined;
}

export interface FoundImage {
  readonly id: string;
  readonly chainId: string;
  /** As the kubelet shows it: the reference by digest, if there is one. */
  readonly digest: string;
}

/**
 * @throws InvalidArgument for relative paths, `..`, contradictory flags
 */
export function toVolumeMounts(mounts: readonly CriMount[]): readonly VolumeMount[] {
  checkCount('config.mounts', mounts, maxMounts);
  return mounts.map((mount, index) => toVolumeMount(`config.mounts[${index}]`, mount));
}

function toVolumeMount(field: string, mount: CriMount): VolumeMount {
  const image = toImageVolume(field, mount);
  const containerPath = checkAbsolutePath(`${field}.container_path`, mount.containerPath);
  if (containerPath === '/') throw refuse(`${field}.container_path`, 'must not be the root of the container');
  const propagation = toPropagation(`${field}.propagation`, mount.propagation);
  if (mount.recursiveReadOnly) {
    if (!mount.readonly) throw refuse(`${field}.recursive_read_only`, 'needs readonly');
    if (propagation !== 'private') throw refuse(`${field}.recursive_read_only`, 'needs private propagation');
  }
  return {
    containerPath,
    hostPath: image === undefined ? checkAbsolutePath(`${field}.host_path`, mount.hostPath) : '',
    image,
    readonly: mount.readonly,
    recursiveReadOnly: mount.recursiveReadOnly,
    propagation,
    options: toOptions(`${field}.mount_options`, mount.mountOptions),
    idMaps: toMountMappings(field, mount),
  };
}

/** CRI Mount.image: an image is mounted read-only, and a part of it is named from its root. */
function toImageVolume(field: string, mount: CriMount): ImageVolume | undefined {
  if (mount.image === undefined || mount.image.image === '') {
    if (mount.imageSubPath !== '') throw refuse(`${field}.image_sub_path`, 'needs an image');
    return undefined;
  }
  if (mount.hostPath !== '') throw refuse(`${field}.host_path`, 'must be empty for an image');
  if (!mount.readonly) throw refuse(`${field}.readonly`, 'must be true for an image');
  const subPath = checkText(`${field}.image_sub_path`, mount.imageSubPath, { mayBeEmpty: true });
  if (subPath.split('/').includes('..'))
    throw refuse(`${field}.image_sub_path`, `must not contain "..": ${quote(subPath)}`);
  return { reference: checkText(`${field}.image.image`, mount.image.image), subPath };
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

const restricted: readonly string[] = ['nosuid', 'noexec', 'nodev'];

/**
 * What every container has, unless it mounts something there itself. A sysfs shows a network: that of the host can be mounted
 * by the host's root only, so a container of another user namespace gets the host's own, without what is mounted on it.
 */
function defaultMounts(privileged: boolean, hostSysfs = false): readonly Mount[] {
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
    hostSysfs
      ? {
          destination: '/sys',
          type: 'bind',
          source: '/sys',
          options: ['bind', 'private', ...restricted, 'ro'],
        }
      : { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...restricted, access] },
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
export function toMounts(
  volumes: readonly VolumeMount[],
  privileged: boolean,
  hostSysfs = false,
): readonly Mount[] {
  const taken = new Set(volumes.map((volume) => volume.containerPath));
  const defaults = defaultMounts(privileged, hostSysfs).filter(
    ({ destination }) =>
      !taken.has(destination) &&
      !(taken.has('/dev') && destination.startsWith('/dev/')) &&
      !(taken.has('/sys') && destination.startsWith('/sys/')),
  );
  const own = volumes.map(toMount).sort((a, b) => depth(a.destination) - depth(b.destination));
  return [...defaults, ...own];
}

/** Kubernetes promises of image volumes that nothing in them is executed. */
const imageOptions: readonly string[] = ['ro', 'nosuid', 'nodev', 'noexec'];

function toMount(volume: VolumeMount): Mount {
  const { containerPath, hostPath, image, propagation, readonly, recursiveReadOnly, options } = volume;
  if (image !== undefined) {
    return { destination: containerPath, type: 'image', source: image.reference, options: imageOptions };
  }
  const access = recursiveReadOnly ? 'rro' : readonly ? 'ro' : 'rw';
  return {
    destination: containerPath,
    type: 'bind',
    source: hostPath,
    options: ['rbind', `r${propagation}`, access, ...options],
    ...volume.idMaps,
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
