import type { FilesystemUsage, Image as CriImage, ImageSpec } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Image, ImageUsage, RegistryAuth } from '../../runtime/image/types.js';
import type { AuthConfig } from '../../protos/gen/cri/runtime/v1/api.js';
import { checkText, refuse } from './check.js';
import type { Config } from '../config.js';
import { findHandler } from './handlers.js';
import { describeImageUser } from './user.js';

/** An image as the CRI shows it. */
export function toCriImage(image: Image): CriImage {
  const { uid, username } = describeImageUser(image.config.user);
  return {
    id: image.id,
    repoTags: [...image.repoTags],
    repoDigests: [...image.repoDigests],
    size: image.sizeBytes,
    uid: uid === undefined ? undefined : { value: uid },
    username,
    spec: {
      image: '',
      annotations: { ...image.annotations },
      userSpecifiedImage: '',
      runtimeHandler: '',
      imageRef: '',
    },
    pinned: image.pinned,
  };
}

export function toCriImageUsage(usage: ImageUsage, atNs: bigint): FilesystemUsage {
  return {
    timestamp: atNs,
    fsId: { mountpoint: usage.path },
    usedBytes: { value: usage.bytes },
    inodesUsed: { value: usage.inodes },
  };
}

/** The image a request names. */
export function toImageReference(image: ImageSpec | undefined, { runtime }: Pick<Config, 'runtime'>): string {
  if (image === undefined) throw refuse('image', 'is missing');
  // Images are the same for all handlers; the name is checked, as the CRI asks.
  findHandler('image.runtime_handler', image.runtimeHandler, runtime);
  return checkText('image.image', image.image);
}

const maxSecretBytes = 64 * 1024;

/** Credentials; they are checked without ever being part of a message. */
export function toRegistryAuth(auth: AuthConfig | undefined): RegistryAuth | undefined {
  if (auth === undefined) return undefined;
  for (const [name, value] of Object.entries(auth) as [string, string][]) {
    checkText(`auth.${name}`, value, { maxBytes: maxSecretBytes, mayBeEmpty: true, mayHaveControls: true });
  }
  return {
    username: given(auth.username),
    password: given(auth.password),
    auth: given(auth.auth),
    serverAddress: given(auth.serverAddress),
    identityToken: given(auth.identityToken),
    registryToken: given(auth.registryToken),
  };
}

function given(text: string): string | undefined {
  return text === '' ? undefined : text;
}
