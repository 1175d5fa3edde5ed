import { KeyedLock } from '../base/keyed-lock.js';
import type { Logger } from '../base/logger.js';
import type { ContentStore } from '../content/types.js';
import { messageOf, RuntimeError, wrapError } from '../errors.js';
import type { LayerStore } from '../snapshot/types.js';
import { Garbage } from './garbage.js';
import { ImagePins } from './image-pins.js';
import { ImageStore } from './image-store.js';
import { JoinedWork } from './joined-work.js';
import { PullTotals, PullTracker, type ProgressListener } from './progress.js';
import { pullImage, type PullContext } from './pull.js';
import { Receiver } from './receiver.js';
import { formatReference, parseReference } from './reference.js';
import { TokenCache } from './registry/authorizer.js';
import { fingerprint } from './registry/credentials.js';
import { Transport } from './registry/transport.js';
import { pullDefaults } from './types.js';
import type { Image, ImageService, ImageUsage, PullCounters, PullRequest, PullResult } from './types.js';

export interface ImageServiceOptions {
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly logger: Logger;
  /** podwright-unpack, which then takes large blobs from their connections; else all are read here. */
  readonly receiverPath?: string;
  /** Directories of `HOST/hosts.toml` (config key `registry.config_path`). */
  readonly configPath?: readonly string[];
  /** Registries on loopback addresses without a hosts.toml speak plain http, no TLS is tried (`registry.plain_http_loopback`). */
  readonly plainHttpLoopback?: boolean;
  /** Layers of one pull at a time (`registry.parallel_downloads`). */
  readonly parallelDownloads?: number;
  /** A pull that receives nothing for so long fails; 0 is never (`registry.no_progress_timeout`). */
  readonly noProgressTimeoutMs?: number;
  /** Tries of a request that fails for a passing reason. */
  readonly attempts?: number;
  readonly firstRetryDelayMs?: number;
  /** Names of images that the kubelet must not remove (`image.pinned`). */
  readonly pinned?: readonly string[];
  /** HTTPS_PROXY, HTTP_PROXY and NO_PROXY are read from it. */
  readonly environment?: NodeJS.ProcessEnv;
  readonly onProgress?: ProgressListener;
}

const leftoverLifetimeMs = 60 * 60 * 1000;

/** Opens the service over a content store and a layer store that are open already. */
export async function openImageService(options: ImageServiceOptions): Promise<ImageService> {
  const { content, layers, logger, pinned = [] } = options;
  const pins = new ImagePins();
  const images = new ImageStore({ content, layers, pins, pinned, logger });
  await images.load();
  const garbage = new Garbage({ content, layers, inUse: () => images.inUse(), logger });
  return new RegistryImageService(options, pins, {
    content,
    layers,
    images,
    garbage,
    transport: new Transport(options.environment ?? process.env),
    tokens: new TokenCache(),
    locks: { chains: new KeyedLock(), blobs: new KeyedLock() },
    hosts: {
      configPath: options.configPath ?? [],
      plainHttpLoopback: options.plainHttpLoopback ?? false,
      logger,
    },
    parallelDownloads: options.parallelDownloads ?? pullDefaults.parallelDownloads,
    receiver: options.receiverPath === undefined ? undefined : new Receiver(options.receiverPath),
    retry: { attempts: options.attempts ?? 5, firstDelayMs: options.firstRetryDelayMs ?? 500 },
    noProgressTimeoutMs:
      options.noProgressTimeoutMs === 0
        ? Infinity
        : (options.noProgressTimeoutMs ?? pullDefaults.noProgressTimeoutMs),
    logger,
  });
}

class RegistryImageService implements ImageService {
  private readonly totals = new PullTotals();
  private readonly pulls = new JoinedWork<Image>();
  private readonly background = new Set<Promise<void>>();
  private leftoverTimer: NodeJS.Timeout | undefined;

  constructor(
    private readonly options: ImageServiceOptions,
    private readonly pins: ImagePins,
    private readonly context: PullContext,
  ) {}

  async pull(request: PullRequest, signal: AbortSignal): Promise<PullResult> {
    const reference = parseReference(request.reference);
    const name = formatReference(reference);
    const key = fingerprint([name, request.auth, request.platform]);
    try {
      const image = await this.pulls.run(key, (shared) => this.pullOnce(request, shared), signal);
      return { image, ref: image.id };
    } catch (error) {
      if (signal.aborted)
        throw new RuntimeError('Cancelled', 'pull image', { subject: name, cause: 'the caller left' });
      throw wrapError('pull image', error, name);
    }
  }

  private async pullOnce(request: PullRequest, signal: AbortSignal): Promise<Image> {
    const { logger, onProgress } = this.options;
    const reference = parseReference(request.reference);
    const tracker = new PullTracker(formatReference(reference), {
      totals: this.totals,
      logger,
      listener: onProgress,
    });
    this.totals.add({ pulls: 1, active: 1 });
    try {
      const image = await pullImage(this.context, { request, reference, tracker, signal });
      const { bytesDone: bytes } = tracker.progress();
      logger.info('image pulled', {
        reference: tracker.reference,
        imageId: image.id,
        bytes,
        durationMs: tracker.elapsedMs(),
      });
      return image;
    } catch (error) {
      this.totals.add({ failures: 1 });
      this.collectLater();
      throw error;
    } finally {
      this.totals.add({ active: -1 });
    }
  }

  /** What a failed pull left helps the next try; if none comes, it goes. */
  private collectLater(): void {
    this.leftoverTimer ??= setTimeout(() => {
      this.leftoverTimer = undefined;
      this.inBackground(this.context.garbage.collect());
    }, leftoverLifetimeMs).unref();
  }

  get(reference: string): Image | undefined {
    return this.context.images.get(reference);
  }

  list(): readonly Image[] {
    return this.context.images.list();
  }

  async remove(reference: string): Promise<void> {
    const { images, garbage, logger } = this.context;
    const id = images.find(reference);
    if (id === undefined) return;
    try {
      await images.remove(id);
      await garbage.collect();
    } catch (error) {
      throw wrapError('remove image', error, reference);
    }
    logger.info('image removed', { reference, imageId: id });
  }

  async usage(): Promise<ImageUsage> {
    const { content, layers } = this.context;
    const blobs = content.usage();
    const unpacked = await layers.usage();
    return {
      path: content.path,
      bytes: blobs.bytes + unpacked.bytes,
      inodes: blobs.inodes + unpacked.inodes,
    };
  }

  pin(imageId: string, owner: string): void {
    this.pins.add(imageId, owner);
  }

  unpin(imageId: string, owner: string): void {
    if (this.pins.delete(imageId, owner)) this.inBackground(this.release());
  }

  /** Only an image that was removed meanwhile has something to give. */
  private async release(): Promise<void> {
    if (await this.context.images.dropHidden()) await this.context.garbage.collect();
  }

  /** Nobody waits for it but close(); what it could not remove is found again later. */
  private inBackground(work: Promise<void>): void {
    const logged = work.catch((error: unknown) =>
      this.options.logger.warn('unused images not removed', { error: messageOf(error) }),
    );
    this.background.add(logged);
    void logged.finally(() => this.background.delete(logged));
  }

  ownersOf(imageId: string): readonly string[] {
    return this.pins.ownersOf(imageId);
  }

  async sweep(): Promise<void> {
    const { images, garbage } = this.context;
    await images.dropHidden();
    garbage.arm();
    await garbage.collect();
  }

  counters(): PullCounters {
    return this.totals.read();
  }

  async close(): Promise<void> {
    clearTimeout(this.leftoverTimer);
    this.pulls.abortAll(new RuntimeError('Unavailable', 'the daemon is stopping'));
    await this.pulls.settled();
    await Promise.all(this.background);
    await this.context.transport.close();
  }
}
