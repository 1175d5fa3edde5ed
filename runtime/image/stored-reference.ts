import { parseDigest, type Digest } from '../base/digest.js';
import type { IndexEntry } from '../content/types.js';
import { RuntimeError } from '../errors.js';
import type { Descriptor } from './manifest.js';
import { formatReference, parseReference } from './reference.js';

/** A name that points at an image. */
export interface StoredReference {
  /** `docker.io/library/busybox:latest`, `…@sha256:…`; undefined for an image that lost its names. */
  readonly name: string | undefined;
  /** Removed, and kept out of sight only because containers use its layers. */
  readonly hidden?: boolean;
  /** What the registry gave for the name: an index or a manifest. */
  readonly target: Descriptor;
  /** The manifest that was chosen: the target itself, or one in the index. */
  readonly manifest: Digest;
}

export const nameAnnotation = 'org.opencontainers.image.ref.name';
/** Which manifest of an index this node chose. */
const manifestAnnotation = 'io.podwright.image.manifest';
const hiddenAnnotation = 'io.podwright.image.removed';

/** Under which it is kept: its name, or the manifest for one without. */
export function keyOf({ name, manifest }: StoredReference): string {
  return name ?? `@${manifest}`;
}

/** The entry of index.json. */
export function entryOf({ name, hidden, target, manifest }: StoredReference): IndexEntry {
  return {
    ...target,
    annotations: {
      ...(name === undefined ? {} : { [nameAnnotation]: name }),
      ...(manifest === target.digest ? {} : { [manifestAnnotation]: manifest }),
      ...(hidden ? { [hiddenAnnotation]: 'true' } : {}),
    },
  };
}

/** Digest of the manifest that an entry of index.json stands for, as it is written there. */
export function manifestOf({ digest, annotations }: IndexEntry): string {
  return annotations?.[manifestAnnotation] ?? digest;
}

/** @throws DataLoss for an entry that no pull of ours wrote */
export function referenceOf(entry: IndexEntry): StoredReference {
  const { mediaType, digest, size, annotations = {} } = entry;
  const target = parseDigest(digest);
  const manifest = parseDigest(manifestOf(entry));
  if (target === undefined || manifest === undefined)
    throw new RuntimeError('DataLoss', 'read image index', { cause: 'an entry has no usable digest' });
  const name = annotations[nameAnnotation];
  return {
    name: name === undefined ? undefined : formatReference(parseReference(name)),
    hidden: annotations[hiddenAnnotation] === 'true',
    target: { mediaType, digest: target, size },
    manifest,
  };
}
