import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { silentLogger } from '../../base/logger.js';
import type { ContentStore } from '../../content/types.js';
import { openImageService, type ImageServiceOptions } from '../service.js';
import type { Image, ImageService, PullRequest } from '../types.js';
import { MemoryLayerStore } from './layer-store.js';

/** An image service over a temporary directory, for tests. */
export interface TestService extends AsyncDisposable {
  readonly root: string;
  readonly service: ImageService;
  readonly content: ContentStore;
  readonly layers: MemoryLayerStore;
  pull(reference: string, request?: Omit<PullRequest, 'reference'>): Promise<Image>;
  /** Ends this service and opens another over the same files and layers, as a restart does. */
  reopen(recover?: (test: { service: ImageService }) => void): Promise<TestService>;
}

type OpenContent = (options: { path: string; logger: typeof silentLogger }) => Promise<ContentStore>;

export interface TestServiceOptions extends Partial<ImageServiceOptions> {
  /** Given by the test: rooms do not import each other. */
  readonly openContent: OpenContent;
  readonly root?: string;
  /** Done between opening and the sweep, as the recovery of containers is. */
  readonly recover?: ((test: { service: ImageService }) => void) | undefined;
}

export async function openTestService(options: TestServiceOptions): Promise<TestService> {
  const { openContent, root: givenRoot, recover, ...serviceOptions } = options;
  const root = givenRoot ?? (await mkdtemp(path.join(tmpdir(), 'podwright-image-')));
  const content = await openContent({ path: path.join(root, 'images'), logger: silentLogger });
  const layers = options.layers instanceof MemoryLayerStore ? options.layers : new MemoryLayerStore();
  const service = await openImageService({
    logger: silentLogger,
    plainHttpLoopback: true,
    firstRetryDelayMs: 5,
    environment: {},
    ...serviceOptions,
    content,
    layers,
  });
  recover?.({ service });
  await service.sweep();
  return {
    root,
    service,
    content,
    layers,
    pull: async (reference, request = {}) => {
      const { image } = await service.pull({ reference, ...request }, new AbortController().signal);
      return image;
    },
    reopen: async (recoverNext) => {
      await service.close();
      return openTestService({ ...options, root, layers, recover: recoverNext });
    },
    [Symbol.asyncDispose]: async () => {
      await service.close();
      await rm(root, { recursive: true, force: true });
    },
  };
}
