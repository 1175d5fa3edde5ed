import { expect } from 'chai';
import { randomBytes } from 'node:crypto';
import { access, mkdtemp, readdir, rm } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buildImage, buildTar, layerFromTar, type BuiltLayer } from '../../e2e/fixtures/image-builder.js';
import { sendBlob, startImageServer, type ImageServer } from '../../e2e/fixtures/image-server.js';
import { silentLogger } from '../base/logger.js';
import { openContentStore } from '../content/index.js';
import type { ContentStore } from '../content/types.js';
import { nativeProgram } from '../instance.js';
import { openSnapshotter } from '../snapshot/index.js';
import type { Snapshotter } from '../snapshot/types.js';
import { openImageService, type ImageServiceOptions } from './service.js';
import { failureOf } from './testing/failure.js';
import type { ImageService } from './types.js';

const program = nativeProgram('podwright-unpack');
const layerBytes = 12_000_000;

/** Large blobs over plain http, through the process that receives them and the real unpacker. */
describe('receiving in a process', function () {
  this.timeout(30_000);
  let root: string;
  let server: ImageServer;
  let snapshotter: Snapshotter;
  let content: ContentStore;
  let service: ImageService;
  let layer: BuiltLayer;

  before(async function () {
    const built = await access(program).then(
      () => true,
      () => false,
    );
    if (process.getuid?.() !== 0 || !built) {
      console.log('    skipped: needs root and the native part (npm run build:native)');
      return this.skip();
    }
    layer = await layerFromTar(await buildTar([{ name: 'noise', content: randomBytes(layerBytes) }]), 'gzip');
  });
  beforeEach(async () => {
    root = await mkdtemp(path.join(tmpdir(), 'podwright-receive-'));
    server = await startImageServer();
    server.add('app', '1', buildImage({ layers: [layer] }));
    snapshotter = await openSnapshotter({
      root,
      logger: silentLogger,
      unpackerPath: program,
      bootId: 'boot',
    });
    content = await openContentStore({ path: path.join(root, 'images'), logger: silentLogger });
    service = await open({});
  });
  afterEach(async () => {
    await service.close();
    await snapshotter.close();
    await server.stop();
    await rm(root, { recursive: true, force: true });
  });

  async function open(options: Partial<ImageServiceOptions>): Promise<ImageService> {
    const opened = await openImageService({
      content,
      layers: snapshotter.layers,
      logger: silentLogger,
      plainHttpLoopback: true,
      firstRetryDelayMs: 5,
      environment: {},
      receiverPath: program,
      ...options,
    });
    await opened.sweep();
    return opened;
  }

  async function reopen(options: Partial<ImageServiceOptions>): Promise<void> {
    await service.close();
    service = await open(options);
  }

  const pull = (signal = new AbortController().signal): ReturnType<ImageService['pull']> =>
    service.pull({ reference: `${server.host}/app:1` }, signal);

  /** Answers the first request for the layer in another way, and counts on the server for the others. */
  function firstTime(answer: (response: ServerResponse) => void): void {
    let asked = false;
    server.intercept = (request, response) => {
      if (asked || !request.url.includes(layer.digest)) return false;
      asked = true;
      answer(response);
      return true;
    };
  }

  /** All of the announced length but for what is behind so many bytes. */
  function sendStart(response: ServerResponse, bytes: number, then: () => void): void {
    response.writeHead(200, { 'content-length': layer.size });
    response.write((layer.content as Uint8Array).subarray(0, bytes), then);
  }

  async function expectWhole(): Promise<void> {
    const { image } = await pull();
    expect(snapshotter.layers.list()).to.have.members(image.layers.map(({ chainId }) => chainId));
    let stored = 0;
    for (const { digest } of image.layers)
      for await (const chunk of content.read(digest)) stored += chunk.length;
    expect(stored).to.equal(layer.size);
    expect(await readdir(path.join(root, 'images/ingest'))).to.deep.equal([]);
  }

  const ranges = (): readonly (string | undefined)[] =>
    server.requests.filter(({ url }) => url.includes(layer.digest)).map(({ headers }) => headers.range);

  it('stores and unpacks a layer, and counts its bytes', async () => {
    await expectWhole();
    expect(service.counters().downloadedBytes).to.equal(layer.size);
  });

  it('is what large layers go through', async () => {
    await reopen({ receiverPath: path.join(root, 'missing') });
    expect((await failureOf(pull())).code).to.equal('NotFound');
  });

  it('continues where a connection broke', async () => {
    firstTime((response) => sendStart(response, 5_000_001, () => response.destroy()));
    await expectWhole();
    const [first, second] = ranges();
    expect(first).to.equal(undefined);
    expect(second).to.match(/^bytes=[1-9]\d*-$/);
  });

  it('leaves bodies without a length to the event loop', async () => {
    firstTime((response) => {
      response.writeHead(200);
      response.end(layer.content);
    });
    await expectWhole();
    expect(ranges()).to.deep.equal([undefined]);
  });

  it('refuses other content of the same length and keeps nothing', async () => {
    const forged = Buffer.from(layer.content as Uint8Array);
    const last = forged.length - 1;
    forged[last] = (forged[last] ?? 0) ^ 1;
    server.intercept = (request, response) => {
      if (!request.url.includes(layer.digest)) return false;
      const mediaType = 'application/octet-stream';
      sendBlob(request, response, { ...layer, mediaType, content: forged });
      return true;
    };
    expect((await failureOf(pull())).code).to.equal('DataLoss');
    expect(snapshotter.layers.list()).to.deep.equal([]);
    expect(await readdir(path.join(root, 'images/ingest'))).to.deep.equal([]);
    expect(await readdir(path.join(root, 'ingest'))).to.deep.equal([]);
  });

  it('gives up on a registry that falls silent', async () => {
    await reopen({ noProgressTimeoutMs: 300 });
    server.intercept = (request, response) => {
      if (!request.url.includes(layer.digest)) return false;
      sendStart(response, 3_000_000, () => undefined);
      return true;
    };
    expect(await failureOf(pull())).to.include({ code: 'Unavailable', reason: 'RegistryUnavailable' });
  });

  it('can be called off in the middle, and continues next time', async () => {
    const abort = new AbortController();
    firstTime((response) => sendStart(response, 5_000_000, () => abort.abort()));
    expect((await failureOf(pull(abort.signal))).code).to.equal('Cancelled');
    await expectWhole();
  });
});
