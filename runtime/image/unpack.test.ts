import { expect } from 'chai';
import { randomBytes } from 'node:crypto';
import { access, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  buildImage,
  buildLayer,
  layerFromTar,
  type BuiltLayer,
  type LayerEntry,
} from '../../e2e/fixtures/image-builder.js';
import { startImageServer, type ImageServer } from '../../e2e/fixtures/image-server.js';
import { silentLogger } from '../base/logger.js';
import { openContentStore } from '../content/index.js';
import type { ContentStore } from '../content/types.js';
import { nativeProgram } from '../instance.js';
import { openSnapshotter } from '../snapshot/index.js';
import type { Snapshotter } from '../snapshot/types.js';
import { openImageService } from './index.js';
import { failureOf } from './testing/failure.js';
import type { ImageService } from './types.js';

/** Pulls into the real layer store, through the real unpacker. */
describe('pull and unpack', function () {
  this.timeout(30_000);
  let root: string;
  let server: ImageServer;
  let snapshotter: Snapshotter;
  let content: ContentStore;
  let service: ImageService;

  before(async function () {
    const missing =
      process.getuid?.() === 0
        ? await access(nativeProgram('podwright-unpack')).then(
            () => undefined,
            () => 'needs the native part (npm run build:native)',
          )
        : 'needs root';
    if (missing === undefined) return;
    console.log(`    skipped: ${missing}`);
    this.skip();
  });
  beforeEach(async () => {
    root = await mkdtemp(path.join(tmpdir(), 'podwright-pull-'));
    server = await startImageServer();
    snapshotter = await openSnapshotter({
      root,
      logger: silentLogger,
      unpackerPath: nativeProgram('podwright-unpack'),
      bootId: 'boot',
    });
    content = await openContentStore({ path: path.join(root, 'images'), logger: silentLogger });
    service = await openImageService({
      content,
      layers: snapshotter.layers,
      logger: silentLogger,
      plainHttpLoopback: true,
      firstRetryDelayMs: 5,
      environment: {},
    });
    await service.sweep();
  });
  afterEach(async () => {
    await service.close();
    await snapshotter.close();
    await server.stop();
    await rm(root, { recursive: true, force: true });
  });

  const pull = (tag: string, signal = new AbortController().signal): ReturnType<ImageService['pull']> =>
    service.pull({ reference: `${server.host}/app:${tag}` }, signal);

  it('takes gzip, zstd and plain layers, and gives everything back', async () => {
    const layers = await Promise.all(
      (['gzip', 'zstd', 'none'] as const).map((compression) =>
        buildLayer([{ name: 'etc/' }, { name: `etc/${compression}`, content: compression }], compression),
      ),
    );
    server.add('app', '1', buildImage({ layers }));
    const { image } = await pull('1');
    expect(snapshotter.layers.list()).to.have.members(image.layers.map(({ chainId }) => chainId));
    expect(Number((await service.usage()).inodes)).to.be.above(6);
    await service.remove(image.id);
    expect(snapshotter.layers.list()).to.deep.equal([]);
    expect(content.list()).to.deep.equal([]);
  });

  const escapes: readonly (readonly [string, LayerEntry[]])[] = [
    ['../evil', [{ name: '../evil', content: 'x' }]],
    [
      'link/evil',
      [
        { name: 'link', linkname: '/tmp' },
        { name: 'link/evil', content: 'x' },
      ],
    ],
    ['hard', [{ name: 'hard', type: 'link', linkname: '../../../etc/passwd' }]],
  ];
  for (const [entry, entries] of escapes)
    it(`a layer with ${entry} changes nothing outside and the pull fails or stays inside`, async () => {
      server.add('app', '1', buildImage({ layers: [await buildLayer(entries)] }));
      const outcome = await pull('1').then(
        () => undefined,
        (error: Error) => error,
      );
      if (outcome !== undefined) {
        expect(outcome).to.include({ code: 'InvalidArgument' });
        expect(outcome.message).to.contain(path.basename(entry));
        expect(snapshotter.layers.list()).to.deep.equal([]);
      }
      expect(await readdir(tmpdir())).not.to.include('evil');
      expect(await readdir(root)).not.to.include('evil');
    });

  const broken: readonly (readonly [string, () => Promise<BuiltLayer>])[] = [
    ['no archive', () => layerFromTar(randomBytes(100_000), 'gzip')],
    [
      'a torn archive',
      async () =>
        layerFromTar(
          (await buildLayer([{ name: 'a', content: 'x'.repeat(5000) }], 'none')).content as Buffer,
          'gzip',
        ).then((layer) => ({ ...layer, diffId: `sha256:${'0'.repeat(64)}` })),
    ],
  ];
  for (const [what, build] of broken)
    it(`fails for ${what} and leaves nothing`, async () => {
      server.add('app', '1', buildImage({ layers: [await build()] }));
      expect(await failureOf(pull('1'))).to.include({ code: 'DataLoss' });
      expect(snapshotter.layers.list()).to.deep.equal([]);
      expect(service.list()).to.deep.equal([]);
    });

  it('can be called off in the middle, and continues next time', async () => {
    const layer = await layerFromTar(
      (await buildLayer([{ name: 'big', content: randomBytes(8_000_000) }], 'none')).content as Buffer,
      'gzip',
    );
    server.add('app', '1', buildImage({ layers: [layer] }));
    const leaver = new AbortController();
    server.intercept = async (request, response) => {
      if (!request.url.includes(layer.digest)) return false;
      response.writeHead(200, { 'content-length': layer.size });
      response.write((layer.content as Buffer).subarray(0, 4_000_000));
      while (service.counters().downloadedBytes === 0) await new Promise((resolve) => setImmediate(resolve));
      leaver.abort();
      return true;
    };
    expect(await failureOf(pull('1', leaver.signal))).to.include({ code: 'Cancelled' });
    server.intercept = () => false;
    server.requests.length = 0;
    await pull('1');
    expect(snapshotter.layers.list()).to.have.length(1);
    expect(server.requests.some(({ headers }) => headers.range?.startsWith('bytes=') === true)).to.equal(
      true,
    );
  });

  it('keeps images over a restart', async () => {
    server.add('app', '1', buildImage({ layers: [await buildLayer([{ name: 'a' }])] }));
    const { image } = await pull('1');
    await service.close();
    await snapshotter.close();
    snapshotter = await openSnapshotter({
      root,
      logger: silentLogger,
      unpackerPath: nativeProgram('podwright-unpack'),
      bootId: 'boot',
    });
    content = await openContentStore({ path: path.join(root, 'images'), logger: silentLogger });
    service = await openImageService({
      content,
      layers: snapshotter.layers,
      logger: silentLogger,
      environment: {},
    });
    await service.sweep();
    expect(service.list()).to.deep.equal([image]);
  });
});
