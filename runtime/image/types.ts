import type { Digest } from '../base/digest.js';

/** What the kubelet gives for a pull (CRI AuthConfig). Secrets: never logged, never part of an error. */
export interface RegistryAuth {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** base64 of `user:password`. */
  readonly auth?: string | undefined;
  /** The only registry the credentials may go to: a host, with or without scheme and path. */
  readonly serverAddress?: string | undefined;
  /** A refresh token that the registry's token service exchanges. */
  readonly identityToken?: string | undefined;
  /** A bearer token for the registry itself. */
  readonly registryToken?: string | undefined;
}

/** In Go's names (image-spec, GOARCH and GOARM). */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string | undefined;
}

/** The parts of an OCI or docker image configuration that a runtime uses. Content of images is never policy. */
export interface ImageConfig extends Platform {
  /** As written in the image: `user`, `uid`, `user:group` …; empty if unset. */
  readonly user: string;
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  /** Empty if unset. */
  readonly workingDir: string;
  readonly volumes: readonly string[];
  /** Empty if unset. */
  readonly stopSignal: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly exposedPorts: readonly string[];
  /** RFC 3339, empty if unset. */
  readonly created: string;
}

export interface ImageLayer {
  /** Digest of the unpacked tar. */
  readonly diffId: Digest;
  /** Digest of the stack of diffIds up to here: the layer's name in the layer store. */
  readonly chainId: Digest;
  /** Digest of the compressed blob. */
  readonly digest: Digest;
  readonly mediaType: string;
  /** Of the compressed blob. */
  readonly size: number;
}

/** One image on this node. A value: a pull or removal makes a new one. */
export interface Image {
  /** Digest of the configuration: `sha256:…`. */
  readonly id: Digest;
  /** `docker.io/library/busybox:latest` */
  readonly repoTags: readonly string[];
  /** `docker.io/library/busybox@sha256:…`, of the manifest or index that was asked for. */
  readonly repoDigests: readonly string[];
  /** Configuration, manifest and compressed layers together, as containerd counts. */
  readonly sizeBytes: bigint;
  readonly config: ImageConfig;
  /** Lowest first. */
  readonly layers: readonly ImageLayer[];
  /** Not to be removed by the kubelet's garbage collection. */
  readonly pinned: boolean;
  /** Annotations of the manifest. */
  readonly annotations: Readonly<Record<string, string>>;
}

/** What an image service does unless it is told otherwise. */
export const pullDefaults = { parallelDownloads: 3, noProgressTimeoutMs: 5 * 60 * 1000 } as const;

export interface PullRequest {
  readonly reference: string;
  readonly auth?: RegistryAuth | undefined;
  /** Default: this machine's. */
  readonly platform?: Platform | undefined;
}

export interface PullResult {
  readonly image: Image;
  /** What CRI PullImageResponse.image_ref returns: the image id. */
  readonly ref: Digest;
}

/**
 * Images: pulled from registries, kept as an OCI image layout, unpacked into the layer store.
 *
 * An image is its configuration; its id is that document's digest. *References* (`repository:tag`,
 * `repository@digest`) point at it, and it lives as long as one does. Its blobs and layers live as long as an image, a
 * running pull or a pin (a container) needs them. A pull makes an image visible in one step, after every digest matched
 * and all its layers are unpacked.
 */
export interface ImageService {
  /**
   * Makes an image present and current. Identical pulls at the same time are one; a caller that aborts leaves the
   * others undisturbed, and what was downloaded serves the next pull. Safe to repeat.
   *
   * @throws InvalidArgument (malformed reference), NotFound (no such image, or none for this platform), Unauthenticated,
   * PermissionDenied, Unavailable (registry unreachable, failing or silent), ResourceExhausted (too many requests, disk full,
   * document too large), FailedPrecondition (kind of manifest or layer that we refuse), DataLoss (digest mismatch,
   * ambiguous document), Cancelled. `reason` holds a stable word.
   */
  pull(request: PullRequest, signal: AbortSignal): Promise<PullResult>;
  /** By tag, digest reference, image id with or without `sha256:`, or an unambiguous id of at least 12 digits. */
  get(reference: string): Image | undefined;
  list(): readonly Image[];
  /**
   * Removes the image with all its references, whichever of them was named (what `crictl rmi` expects). Unknown images
   * are a success. Layers in use stay until their last user is unpinned.
   */
  remove(reference: string): Promise<void>;
  /** Disk used by blobs and layers. */
  usage(): Promise<ImageUsage>;
  /**
   * Keeps an image's layers while `owner` (a container id) uses them. If the image is removed meanwhile, it is hidden at
   * once and deleted after the last unpin, also across restarts. The id of an image that is gone already pins nothing.
   */
  pin(imageId: string, owner: string): void;
  unpin(imageId: string, owner: string): void;
  ownersOf(imageId: string): readonly string[];
  /**
   * Removes blobs and layers that nothing refers to: what a crash left. To be called once after a start, when every
   * recovered container has pinned its image; until then nothing is collected.
   */
  sweep(): Promise<void>;
  counters(): PullCounters;
  /** Aborts running pulls and closes idle connections. */
  close(): Promise<void>;
}

export interface ImageUsage {
  readonly path: string;
  readonly bytes: bigint;
  readonly inodes: bigint;
}

/** Since the start of the daemon. */
export interface PullCounters {
  readonly pulls: number;
  readonly failures: number;
  readonly active: number;
  readonly downloadedBytes: number;
  readonly retries: number;
}

/** State of a running pull. Sizes are those of compressed layers that were not here before. */
export interface PullProgress {
  readonly reference: string;
  readonly layers: number;
  readonly layersDone: number;
  readonly bytes: number;
  readonly bytesDone: number;
}
