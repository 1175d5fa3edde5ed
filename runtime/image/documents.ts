import { algorithmOf, digestOf, type Digest } from '../base/digest.js';
import type { ContentStore } from '../content/types.js';
import { codeOf, RuntimeError, wrapError } from '../errors.js';
import { chainIdsOf, parseConfig } from './config.js';
import { configLimitBytes, manifestLimitBytes } from './limits.js';
import { choosePlatform, parseManifest, type Descriptor, type ImageManifest } from './manifest.js';
import { formatPlatform, platformFit } from './platform.js';
import type { RegistryClient } from './registry/client.js';
import { failureOf, isInterruption } from './registry/failures.js';
import { retry, type RetryOptions } from './registry/retry.js';
import type { ImageConfig, ImageLayer, Platform } from './types.js';

/** A document with its digest checked, not yet stored. */
export interface Document {
  readonly descriptor: Descriptor;
  readonly content: Uint8Array;
}

/** Everything about an image except its layers' content. */
export interface ImageDocuments {
  /** What the reference stands for: an index or the manifest itself. */
  readonly target: Descriptor;
  readonly manifest: Descriptor;
  /** In the order to store them: what is pointed at comes first. */
  readonly documents: readonly Document[];
  readonly description: ImageDescription;
}

/** What manifest and configuration say together. */
export interface ImageDescription {
  readonly id: Digest;
  readonly config: ImageConfig;
  readonly layers: readonly ImageLayer[];
  readonly annotations: Readonly<Record<string, string>>;
  readonly sizeBytes: bigint;
}

export interface DocumentFetch {
  readonly client: RegistryClient;
  readonly content: ContentStore;
  readonly platform: Platform;
  readonly retry: RetryOptions;
  readonly signal: AbortSignal;
}

/** Indexes may hold indexes; more than this is a trick. */
const deepestIndex = 3;

/** Gets the manifest for a platform, through indexes where there are some, and its configuration. */
export async function fetchDocuments(fetch: DocumentFetch, reference: string): Promise<ImageDocuments> {
  const first = await fetch.client.manifest(reference);
  const documents: Document[] = [];
  let { content, mediaType }: { content: Uint8Array; mediaType: string | undefined } = first;
  let digest: Digest = first.digest;
  for (let depth = 0; depth <= deepestIndex; depth++) {
    const parsed = parseManifest({ content, mediaType });
    documents.push({ descriptor: { mediaType: parsed.mediaType, digest, size: content.length }, content });
    if (parsed.kind === 'image') return completeDocuments(fetch, parsed, documents);
    const chosen = choosePlatform(parsed, fetch.platform);
    content = await fetchManifest(fetch, chosen);
    ({ digest, mediaType } = chosen);
  }
  throw new RuntimeError('DataLoss', 'read manifest', {
    cause: `indexes are nested deeper than ${deepestIndex}`,
    reason: 'ManifestInvalid',
  });
}

async function completeDocuments(
  fetch: DocumentFetch,
  manifest: ImageManifest,
  documents: readonly Document[],
): Promise<ImageDocuments> {
  const target = documents[0]?.descriptor;
  const own = documents.at(-1)?.descriptor;
  if (target === undefined || own === undefined) throw new RuntimeError('Internal', 'read manifest');
  const content = await fetchConfig(fetch, manifest.config);
  const description = describeImage(manifest, own, content);
  checkPlatform(description.config, fetch.platform);
  return {
    target,
    manifest: own,
    documents: [{ descriptor: manifest.config, content }, ...documents.toReversed()],
    description,
  };
}

async function fetchManifest(
  { client, content }: DocumentFetch,
  descriptor: Descriptor,
): Promise<Uint8Array> {
  const { digest, size } = descriptor;
  const known = await readKnown(content, descriptor, manifestLimitBytes);
  if (known !== undefined) return known;
  const fetched = await client.manifest(digest);
  if (fetched.content.length === size) return fetched.content;
  throw wrongSize('manifest', descriptor, fetched.content.length);
}

/** A document that is here already and whole; a damaged one is removed. */
async function readKnown(
  content: ContentStore,
  { digest, size }: Descriptor,
  limitBytes: number,
): Promise<Uint8Array | undefined> {
  if (content.size(digest) !== size) return undefined;
  try {
    return await content.readAll(digest, limitBytes);
  } catch (error) {
    if (!['DataLoss', 'NotFound'].includes(codeOf(error))) throw error;
    await content.remove(digest);
    return undefined;
  }
}

/** The configuration, from the content store or the registry. */
async function fetchConfig(fetch: DocumentFetch, descriptor: Descriptor): Promise<Uint8Array> {
  const { digest, size } = descriptor;
  if (size > configLimitBytes)
    throw new RuntimeError('ResourceExhausted', 'read image configuration', {
      subject: digest,
      cause: `its ${size} bytes are more than the ${configLimitBytes} allowed`,
      reason: 'AnswerTooLarge',
    });
  const known = await readKnown(fetch.content, descriptor, configLimitBytes);
  if (known !== undefined) return known;
  const { client, signal, retry: retryOptions } = fetch;
  const isTransient = (error: unknown): boolean =>
    isInterruption(error) || (codeOf(error) === 'DataLoss' && client.distrust(digest));
  const policy = { ...retryOptions, signal, isTransient, delayOf: () => undefined };
  try {
    return await retry(() => receiveConfig(client, descriptor), policy);
  } catch (error) {
    signal.throwIfAborted();
    throw failureOf(error, digest);
  }
}

async function receiveConfig(client: RegistryClient, descriptor: Descriptor): Promise<Uint8Array> {
  const { digest, size } = descriptor;
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of (await client.blob(digest, 0)).chunks) {
    length += chunk.length;
    if (length > size) throw wrongSize('configuration', descriptor, length);
    chunks.push(chunk);
  }
  const content = Buffer.concat(chunks);
  const actual = digestOf(content, algorithmOf(digest));
  if (actual === digest && length === size) return content;
  throw new RuntimeError('DataLoss', 'check image configuration', {
    subject: digest,
    cause: `the content has the digest ${actual}`,
    reason: 'DigestMismatch',
  });
}

function wrongSize(what: string, { digest, size }: Descriptor, actual: number): RuntimeError {
  return new RuntimeError('DataLoss', `check ${what}`, {
    subject: digest,
    cause: `${actual} bytes instead of ${size}`,
    reason: 'DigestMismatch',
  });
}

/**
 * Puts manifest and configuration together.
 * @throws DataLoss if they contradict each other.
 */
export function describeImage(
  manifest: ImageManifest,
  descriptor: Descriptor,
  configContent: Uint8Array,
): ImageDescription {
  const { config, diffIds } = readConfig(manifest.config.digest, configContent);
  if (diffIds.length !== manifest.layers.length)
    throw new RuntimeError('DataLoss', 'read manifest', {
      subject: descriptor.digest,
      cause: `it has ${manifest.layers.length} layers, its configuration ${diffIds.length}`,
      reason: 'ManifestInvalid',
    });
  const chainIds = chainIdsOf(diffIds);
  const layers = manifest.layers.flatMap(({ digest, mediaType, size }, index): ImageLayer[] => {
    const [diffId, chainId] = [diffIds[index], chainIds[index]];
    return diffId === undefined || chainId === undefined
      ? []
      : [{ diffId, chainId, digest, mediaType, size }];
  });
  const sizes = [descriptor.size, manifest.config.size, ...layers.map(({ size }) => size)];
  return {
    id: manifest.config.digest,
    config,
    layers,
    annotations: manifest.annotations,
    sizeBytes: sizes.reduce((sum, size) => sum + BigInt(size), 0n),
  };
}

function readConfig(digest: Digest, content: Uint8Array): ReturnType<typeof parseConfig> {
  try {
    return parseConfig(content);
  } catch (error) {
    throw wrapError('image', error, digest);
  }
}

function checkPlatform(config: ImageConfig, wanted: Platform): void {
  if (platformFit(wanted, config) > 0) return;
  throw new RuntimeError('NotFound', 'choose platform', {
    cause: `the image is for ${formatPlatform(config)}, not for ${formatPlatform(wanted)}`,
    reason: 'PlatformMissing',
  });
}
