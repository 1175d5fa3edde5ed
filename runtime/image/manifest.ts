import { z } from 'zod';
import { parseDigest, type Digest } from '../base/digest.js';
import { RuntimeError } from '../errors.js';
import { indexEntryLimit, layerLimit } from './limits.js';
import { formatPlatform, platformFit } from './platform.js';
import { quoted } from './reference.js';
import { describeSchemaError } from './schema-error.js';
import type { Platform } from './types.js';

/** Manifests and indexes of the OCI image-spec, and docker's schema 2 of both (the same documents in other media types). */

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
}

export interface ImageManifest {
  readonly kind: 'image';
  readonly mediaType: string;
  readonly config: Descriptor;
  /** `foreign`: the registry need not have it; the URLs it is offered at are never followed. */
  readonly layers: readonly (Descriptor & { readonly foreign: boolean })[];
  readonly annotations: Readonly<Record<string, string>>;
}

export interface ImageIndex {
  readonly kind: 'index';
  readonly mediaType: string;
  readonly entries: readonly (Descriptor & { readonly platform: Platform | undefined })[];
}

const manifestMediaTypes = {
  image: [
    'application/vnd.oci.image.manifest.v1+json',
    'application/vnd.docker.distribution.manifest.v2+json',
  ],
  index: [
    'application/vnd.oci.image.index.v1+json',
    'application/vnd.docker.distribution.manifest.list.v2+json',
  ],
} as const;

/** What a registry is told that we understand. */
export const acceptedManifests = [...manifestMediaTypes.index, ...manifestMediaTypes.image].join(', ');

const configMediaTypes: readonly string[] = [
  'application/vnd.oci.image.config.v1+json',
  'application/vnd.docker.container.image.v1+json',
];

const layerMediaType =
  /^application\/vnd\.(?:oci\.image\.layer\.(?:v1|nondistributable\.v1)\.tar(?:\+gzip|\+zstd)?|docker\.image\.rootfs\.(?:diff|foreign\.diff)\.tar(?:\.gzip|\.zstd)?)$/;

const digestSchema = z.string().transform((text, context): Digest => {
  const digest = parseDigest(text);
  if (digest !== undefined) return digest;
  context.addIssue(`not a sha256 or sha512 digest: ${quoted(text)}`);
  return z.NEVER;
});

const descriptorSchema = z.object({
  mediaType: z.string(),
  digest: digestSchema,
  size: z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER),
});

const annotationsSchema = z.record(z.string(), z.string()).nullish();

const imageSchema = z.object({
  config: descriptorSchema,
  layers: z.array(descriptorSchema.extend({ urls: z.array(z.string()).nullish() })).max(layerLimit),
  annotations: annotationsSchema,
});

const platformSchema = z.object({
  os: z.string(),
  architecture: z.string(),
  variant: z.string().optional(),
});

const indexSchema = z.object({
  manifests: z.array(descriptorSchema.extend({ platform: platformSchema.nullish() })).max(indexEntryLimit),
});

/** A document as it came from a registry or the content store, before anything about it is believed. */
export interface RawManifest {
  readonly content: Uint8Array;
  /** What the Content-Type header or the descriptor says; undefined if nothing useful. */
  readonly mediaType: string | undefined;
}

/**
 * Reads a manifest or index. A document that could be taken for both is refused: two readers of the same digest must
 * not see different images.
 *
 * @throws DataLoss if it is ambiguous or malformed, FailedPrecondition if it is of a kind that we do not run.
 */
export function parseManifest({ content, mediaType }: RawManifest): ImageManifest | ImageIndex {
  const document = parseObject(content);
  const declared = typeof document['mediaType'] === 'string' ? document['mediaType'] : undefined;
  refuseSchema1(document, mediaType ?? declared);
  const known = [mediaType, declared].filter((type) => type !== undefined && kindOf(type) !== undefined);
  if (known.length === 2 && known[0] !== known[1])
    throw invalid(`it is sent as ${quoted(mediaType ?? '')} and calls itself ${quoted(declared ?? '')}`);
  if ('manifests' in document && ['layers', 'config', 'fsLayers'].some((key) => key in document))
    throw invalid('it is a manifest and an index at once');
  if (known.length === 0 && declared !== undefined)
    throw unsupported(`it is of type ${quoted(declared)}: this is no container image`);
  // OCI documents need not say what they are, and some registries send them as plain JSON.
  const kind = kindOf(known[0] ?? '') ?? ('manifests' in document ? 'index' : 'image');
  const type = known[0] ?? manifestMediaTypes[kind][0];
  return kind === 'index' ? parseIndex(document, type) : parseImage(document, type);
}

function parseObject(content: Uint8Array): Record<string, unknown> {
  let document: unknown;
  try {
    document = JSON.parse(Buffer.from(content.buffer, content.byteOffset, content.length).toString('utf8'));
  } catch {
    throw invalid('it is not JSON');
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document))
    throw invalid('it is not a JSON object');
  return document as Record<string, unknown>;
}

function refuseSchema1(document: Record<string, unknown>, mediaType: string | undefined): void {
  const named = /^application\/vnd\.docker\.distribution\.manifest\.v1\+/.test(mediaType ?? '');
  if (!named && document['schemaVersion'] !== 1) return;
  throw new RuntimeError('FailedPrecondition', 'read manifest', {
    cause: 'docker schema 1 manifests are not supported; push the image again with a current tool',
    reason: 'ManifestUnsupported',
  });
}

function kindOf(mediaType: string): 'image' | 'index' | undefined {
  if ((manifestMediaTypes.image as readonly string[]).includes(mediaType)) return 'image';
  return (manifestMediaTypes.index as readonly string[]).includes(mediaType) ? 'index' : undefined;
}

function parseIndex(document: unknown, mediaType: string): ImageIndex {
  const parsed = indexSchema.safeParse(document);
  if (!parsed.success) throw invalid(describeSchemaError(parsed.error));
  const entries = parsed.data.manifests.map(({ platform, ...descriptor }) => ({
    ...descriptor,
    platform: platform ?? undefined,
  }));
  return { kind: 'index', mediaType, entries };
}

function parseImage(document: unknown, mediaType: string): ImageManifest {
  const parsed = imageSchema.safeParse(document);
  if (!parsed.success) throw invalid(describeSchemaError(parsed.error));
  const { config, layers, annotations } = parsed.data;
  if (!configMediaTypes.includes(config.mediaType))
    throw unsupported(`its configuration is of type ${quoted(config.mediaType)}: this is no container image`);
  return {
    kind: 'image',
    mediaType,
    config,
    layers: layers.map(({ urls, ...descriptor }) => {
      if (!layerMediaType.test(descriptor.mediaType))
        throw unsupported(`layer ${descriptor.digest} is of type ${quoted(descriptor.mediaType)}`);
      return { ...descriptor, foreign: (urls ?? []).length > 0 };
    }),
    annotations: annotations ?? {},
  };
}

function invalid(cause: string): RuntimeError {
  return new RuntimeError('DataLoss', 'read manifest', { cause, reason: 'ManifestInvalid' });
}

function unsupported(cause: string): RuntimeError {
  return new RuntimeError('FailedPrecondition', 'read manifest', { cause, reason: 'ManifestUnsupported' });
}

/**
 * The entry of an index to run on a platform: the best fit, the first of equals; if no entry names a platform that
 * fits, one that names none.
 *
 * @throws NotFound naming the platforms there are.
 */
export function choosePlatform(index: ImageIndex, wanted: Platform): Descriptor {
  let best: Descriptor | undefined;
  let bestFit = 0;
  for (const entry of index.entries) {
    const fit = entry.platform === undefined ? 0.5 : platformFit(wanted, entry.platform);
    if (fit <= bestFit || !canHoldImage(entry.mediaType)) continue;
    best = entry;
    bestFit = fit;
  }
  if (best !== undefined) return best;
  const offered = index.entries.flatMap(({ platform }) =>
    platform === undefined ? [] : [formatPlatform(platform)],
  );
  throw new RuntimeError('NotFound', 'choose platform', {
    cause: `the image exists for ${offered.slice(0, 20).join(', ') || 'no platform'}, not for ${formatPlatform(wanted)}`,
    reason: 'PlatformMissing',
  });
}

function canHoldImage(mediaType: string): boolean {
  return kindOf(mediaType) !== undefined;
}
