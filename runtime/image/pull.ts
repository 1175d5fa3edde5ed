import type { Digest } from '../base/digest.js';
import type { Logger } from '../base/logger.js';
import type { ContentStore } from '../content/types.js';
import { messageOf } from '../errors.js';
import type { LayerStore } from '../snapshot/types.js';
import { fetchDocuments, type DocumentFetch, type ImageDocuments } from './documents.js';
import { fetchLayers, type LayerLocks } from './fetch-layers.js';
import type { Garbage } from './garbage.js';
import type { ImageStore } from './image-store.js';
import { hostPlatform } from './platform.js';
import type { PullTracker } from './progress.js';
import type { Receiver } from './receiver.js';
import { formatReference, repositoryOf, type Reference } from './reference.js';
import { Authorizer, type TokenCache } from './registry/authorizer.js';
import { RegistryClient } from './registry/client.js';
import { findEndpoints, type HostsOptions } from './registry/hosts.js';
import type { RetryOptions } from './registry/retry.js';
import type { Transport } from './registry/transport.js';
import type { Image, PullRequest } from './types.js';

/** What all pulls share. */
export interface PullContext {
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly images: ImageStore;
  readonly garbage: Garbage;
  readonly transport: Transport;
  readonly tokens: TokenCache;
  readonly locks: LayerLocks;
  readonly hosts: HostsOptions;
  readonly parallelDownloads: number;
  readonly receiver: Receiver | undefined;
  readonly retry: RetryOptions;
  readonly noProgressTimeoutMs: number;
  readonly logger: Logger;
}

/** A registry that says nothing for so long gets another connection; the pull itself is more patient. */
const longestSilenceMs = 60_000;

export interface Pull {
  readonly request: PullRequest;
  readonly reference: Reference;
  readonly tracker: PullTracker;
  readonly signal: AbortSignal;
}

/** One pull from reference to image; see ImageService.pull. */
export async function pullImage(context: PullContext, pull: Pull): Promise<Image> {
  const { reference, signal } = pull;
  const client = await openClient(context, pull);
  const current = await currentImage(context, client, pull);
  if (current !== undefined) return current;
  const fetch: DocumentFetch = {
    client,
    content: context.content,
    platform: pull.request.platform ?? hostPlatform(),
    retry: context.retry,
    signal,
  };
  const documents = await fetchDocuments(fetch, reference.digest ?? reference.tag ?? 'latest');
  const release = await context.garbage.lease(everythingIn(documents));
  try {
    await receive(context, client, documents, pull);
    return await context.images.put(namesFor(reference, documents.target.digest), documents);
  } finally {
    release();
  }
}

async function openClient(
  context: PullContext,
  { request, reference, tracker, signal }: Pull,
): Promise<RegistryClient> {
  const { domain, path } = reference;
  const { transport, tokens, logger, retry, noProgressTimeoutMs } = context;
  const idleTimeoutMs = Math.min(noProgressTimeoutMs / 2, longestSilenceMs);
  return new RegistryClient({
    transport,
    authorizer: new Authorizer({
      transport,
      cache: tokens,
      auth: request.auth,
      domain,
      repository: path,
      idleTimeoutMs,
    }),
    endpoints: await findEndpoints(domain, context.hosts),
    domain,
    repository: path,
    idleTimeoutMs,
    retry: { ...retry, onRetry: retryLogger(logger, tracker) },
    logger,
    signal,
  });
}

function retryLogger(logger: Logger, tracker: PullTracker): (error: unknown, delayMs: number) => void {
  return (error, delayMs) => {
    tracker.retried();
    logger.warn('image pull interrupted, trying again', {
      reference: tracker.reference,
      delayMs: Math.round(delayMs),
      error: messageOf(error),
    });
  };
}

/**
 * The image we have, if the registry says that the name still means it. The registry is asked even for a digest: whoever
 * may not pull an image must not get it because somebody else did.
 */
async function currentImage(
  { images }: PullContext,
  client: RegistryClient,
  { request, reference }: Pull,
): Promise<Image | undefined> {
  const name = formatReference(reference);
  const known = images.reference(name);
  if (known === undefined || request.platform !== undefined) return undefined;
  const digest = await client.resolve(reference.digest ?? reference.tag ?? 'latest');
  return digest === known.target.digest ? images.get(name) : undefined;
}

function everythingIn({ documents, description }: ImageDocuments): readonly string[] {
  return [
    ...documents.map(({ descriptor }) => descriptor.digest),
    ...description.layers.flatMap(({ digest, chainId }) => [digest, chainId]),
  ];
}

async function receive(
  context: PullContext,
  client: RegistryClient,
  { documents, description }: ImageDocuments,
  { tracker, signal }: Pull,
): Promise<void> {
  const { content, layers: store, locks, parallelDownloads, receiver, retry, noProgressTimeoutMs } = context;
  const missing = description.layers.filter(({ chainId }) => !store.has(chainId));
  tracker.started(
    missing.length,
    missing.reduce((sum, { digest, size }) => sum + (content.size(digest) === undefined ? size : 0), 0),
  );
  const work = [
    ...documents.map(({ descriptor, content: document }) => content.write(descriptor.digest, document)),
    fetchLayers({
      layers: description.layers,
      client,
      content,
      store,
      locks,
      parallel: parallelDownloads,
      receiver,
      retry: { ...retry, onRetry: retryLogger(context.logger, tracker) },
      noProgressTimeoutMs,
      onBytes: (bytes) => tracker.received(bytes),
      onLayer: () => tracker.layerDone(),
      signal,
    }),
  ];
  // All must have ended before the lease does, also when one fails.
  const outcomes = await Promise.allSettled(work);
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}

/** A pull by tag also gives the name by digest: it stays when the tag moves on. */
function namesFor(reference: Reference, target: Digest): readonly string[] {
  const byDigest = `${repositoryOf(reference)}@${target}`;
  return reference.digest === undefined ? [formatReference(reference), byDigest] : [byDigest];
}
