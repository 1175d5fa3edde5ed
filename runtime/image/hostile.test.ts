import { expect } from 'chai';
import { randomBytes } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import {
  buildImage,
  buildLayer,
  descriptorOf,
  jsonBlob,
  layerFromTar,
  type Blob,
  type BuiltImage,
  type BuiltLayer,
} from '../../e2e/fixtures/image-builder.js';
import {
  sendBlob,
  sendError,
  startImageServer,
  type Intercept,
  type ImageServer,
  type SeenRequest,
} from '../../e2e/fixtures/image-server.js';
import { openContentStore } from '../content/index.js';
import type { RuntimeError } from '../errors.js';
import { failureOf } from './testing/failure.js';
import { openTestService, type TestService, type TestServiceOptions } from './testing/open-service.js';

const isBlob = ({ method, url }: SeenRequest): boolean => method === 'GET' && url.includes('/blobs/');

describe('pull from a registry that misbehaves', () => {
  let server: ImageServer;
  let test: TestService;
  let layer: BuiltLayer;
  let image: BuiltImage;

  before(async () => {
    layer = await layerFromTar(randomBytes(3_000_000), 'none');
  });
  beforeEach(async () => {
    server = await startImageServer();
    image = buildImage({ layers: [layer] });
    server.add('app', '1', image);
    test = await openTestService({ openContent: openContentStore });
  });
  afterEach(async () => {
    await test[Symbol.asyncDispose]();
    await server.stop();
  });

  const name = (): string => `${server.host}/app:1`;
  const isLayer = (request: SeenRequest): boolean => isBlob(request) && request.url.includes(layer.digest);

  async function reopen(options: Partial<TestServiceOptions>): Promise<void> {
    await test[Symbol.asyncDispose]();
    test = await openTestService({ openContent: openContentStore, ...options });
  }

  async function expectNothingLeft(): Promise<void> {
    expect(test.service.list()).to.deep.equal([]);
    expect(test.layers.list()).to.deep.equal([]);
    expect([...test.layers.prepared]).to.deep.equal([]);
    expect(test.content.list().map(String)).not.to.include(layer.digest);
  }

  describe('wrong content', () => {
    it('refuses a layer with another digest and keeps nothing of it', async () => {
      const forged = Buffer.from(layer.content as Uint8Array);
      forged[layer.size - 1] = (forged[layer.size - 1] ?? 0) ^ 1;
      server.intercept = (request, response) => {
        if (!isLayer(request)) return false;
        sendBlob(request, response, {
          ...image.manifest,
          digest: layer.digest,
          size: layer.size,
          content: forged,
        });
        return true;
      };
      const failure = await failureOf(test.pull(name()));
      expect(failure).to.include({ code: 'DataLoss', reason: 'DigestMismatch' });
      expect(failure.message).to.contain(layer.digest);
      await expectNothingLeft();
      expect(await readdir(path.join(test.root, 'images', 'ingest'))).to.deep.equal([]);
      server.intercept = () => false;
      await test.pull(name());
    });

    it('refuses a layer longer than announced without reading it all', async () => {
      let sent = 0;
      server.intercept = async (request, response) => {
        if (!isLayer(request)) return false;
        response.writeHead(200);
        response.write(layer.content);
        const more = Buffer.alloc(1 << 20);
        while (!response.destroyed && sent < 1 << 30) {
          sent += more.length;
          if (!response.write(more))
            await new Promise((resolve) => response.once('drain', resolve).once('close', resolve));
        }
        return true;
      };
      expect((await failureOf(test.pull(name()))).message).to.contain(
        `more than the ${layer.size} bytes announced`,
      );
      expect(sent).to.be.below(1 << 26);
      await expectNothingLeft();
    });

    const forgedManifests: readonly (readonly [string, (image: BuiltImage) => Blob, string])[] = [
      [
        'a digest that is not that of the body',
        ({ manifest }) => ({ ...manifest, digest: `sha256:${'0'.repeat(64)}` }),
        'DigestMismatch',
      ],
      [
        'layers and manifests at once',
        ({ manifest, config, layers }) =>
          jsonBlob(manifest.mediaType, {
            schemaVersion: 2,
            config: descriptorOf(config),
            layers: layers.map(descriptorOf),
            manifests: [descriptorOf(manifest)],
          }),
        'ManifestInvalid',
      ],
      [
        'another number of layers than the configuration',
        ({ manifest, config }) => jsonBlob(manifest.mediaType, { config: descriptorOf(config), layers: [] }),
        'ManifestInvalid',
      ],
      [
        'schema 1',
        () => jsonBlob('application/vnd.docker.distribution.manifest.v1+prettyjws', { schemaVersion: 1 }),
        'ManifestUnsupported',
      ],
      [
        'a configuration of 9 MB',
        ({ manifest, config, layers }) =>
          jsonBlob(manifest.mediaType, {
            config: { ...descriptorOf(config), size: 9 << 20 },
            layers: layers.map(descriptorOf),
          }),
        'AnswerTooLarge',
      ],
      [
        'more than 4 MiB',
        ({ manifest }) => jsonBlob(manifest.mediaType, { x: 'x'.repeat(4 << 20) }),
        'AnswerTooLarge',
      ],
    ];
    for (const [what, forge, reason] of forgedManifests)
      it(`refuses a manifest with ${what}`, async () => {
        server.addManifest('app', '1', forge(image));
        expect(await failureOf(test.pull(name()))).to.include({ reason });
        await expectNothingLeft();
      });

    it('refuses an endless manifest', async () => {
      server.intercept = async (request, response) => {
        if (!request.url.includes('/manifests/')) return false;
        const more = Buffer.alloc(1 << 20, ' ');
        while (!response.destroyed)
          if (!response.write(more))
            await new Promise((resolve) => response.once('drain', resolve).once('close', resolve));
        return true;
      };
      expect(await failureOf(test.pull(name()))).to.include({ reason: 'AnswerTooLarge' });
    });

    it('refuses a manifest by digest that has another', async () => {
      const other = buildImage({ layers: [] });
      server.addManifest('app', image.manifest.digest, { ...other.manifest, digest: image.manifest.digest });
      expect(await failureOf(test.pull(`${server.host}/app@${image.manifest.digest}`))).to.include({
        code: 'DataLoss',
        reason: 'DigestMismatch',
      });
    });

    it('starts a damaged download anew even if the unpacker notices first', async () => {
      const packed = await layerFromTar(randomBytes(2_000_000), 'gzip');
      server.add('app', '2', buildImage({ layers: [packed] }));
      const partial = path.join(test.root, 'images', 'ingest', `${packed.digest.replace(':', '-')}.partial`);
      await writeFile(partial, Buffer.alloc(1_000_000));
      await test.pull(`${server.host}/app:2`);
    });

    it('refuses a layer whose content is not its diffId', async () => {
      const other = await buildLayer([{ name: 'other' }]);
      server.add('app', '1', buildImage({ layers: [{ ...layer, diffId: other.diffId }] }));
      expect(await failureOf(test.pull(name()))).to.include({ code: 'DataLoss' });
      expect(test.service.list()).to.deep.equal([]);
      expect(test.layers.list()).to.deep.equal([]);
    });

    it('never follows the URL of a foreign layer', async () => {
      await using elsewhere = await startImageServer();
      elsewhere.addBlob('app', {
        ...image.manifest,
        digest: layer.digest,
        size: layer.size,
        content: layer.content,
      });
      const foreign = await buildLayer([{ name: 'x' }]);
      const config = image.config;
      server.addManifest(
        'app',
        '1',
        jsonBlob(image.manifest.mediaType, {
          config: descriptorOf(config),
          layers: [
            {
              mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
              digest: foreign.digest,
              size: foreign.size,
              urls: [`http://${elsewhere.host}/v2/app/blobs/${layer.digest}`],
            },
          ],
        }),
      );
      const failure = await failureOf(test.pull(name(), { auth: { username: 'u', password: 'p' } }));
      expect(failure).to.include({ code: 'NotFound' });
      expect(elsewhere.requests).to.deep.equal([]);
    });
  });

  describe('broken connections', () => {
    /** Cuts the layer's connection after each of these many bytes, then serves it whole. */
    function cutAfter(...lengths: number[]): Intercept {
      return (request, response) => {
        const length = lengths[0];
        if (!isLayer(request) || length === undefined) return false;
        lengths.shift();
        const start = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
        response.writeHead(start === 0 ? 200 : 206, {
          'content-length': layer.size - start,
          'content-range': `bytes ${start}-${layer.size - 1}/${layer.size}`,
        });
        response.write((layer.content as Buffer).subarray(start, start + length), () => response.destroy());
        return true;
      };
    }
    const ranges = (): (string | undefined)[] =>
      server.requests.filter(isLayer).map(({ headers }) => headers.range);

    it('continues where the connection broke', async () => {
      server.intercept = cutAfter(1_000_000, 500_000, 0, 0);
      await test.pull(name());
      const offsets = ranges().map((range) => Number(/\d+/.exec(range ?? 'bytes=0-')?.[0]));
      expect(offsets).to.have.length(5);
      expect(offsets[0]).to.equal(0);
      for (const [place, offset] of offsets.entries()) expect(offset).to.be.at.least(offsets[place - 1] ?? 0);
      expect(offsets.at(-1)).to.be.above(0);
      expect(test.service.counters()).to.include({ retries: 4, downloadedBytes: layer.size });
    });

    it('skips what it has if the registry knows no ranges', async () => {
      const cut = cutAfter(1_000_000);
      server.intercept = (request, response) => {
        if (cut(request, response) === true) return true;
        if (!isLayer(request)) return false;
        sendBlob({ ...request, headers: {} }, response, { ...image.manifest, ...layer });
        return true;
      };
      await test.pull(name());
      expect(ranges()).to.have.length(2);
    });

    it('refuses a range that begins elsewhere', async () => {
      const cut = cutAfter(1_000_000);
      server.intercept = (request, response) => {
        if (cut(request, response) === true) return true;
        if (!isLayer(request)) return false;
        response.writeHead(206, { 'content-range': `bytes 5-${layer.size - 1}/${layer.size}` });
        response.end((layer.content as Buffer).subarray(5));
        return true;
      };
      expect(await failureOf(test.pull(name()))).to.include({ code: 'Unavailable' });
      await expectNothingLeft();
    });

    it('gives up after so many tries, and the next pull continues', async () => {
      await reopen({ attempts: 2 });
      server.intercept = cutAfter(1_000_000, 0, 0, 0, 0, 0, 0);
      expect(await failureOf(test.pull(name()))).to.include({
        code: 'Unavailable',
        reason: 'RegistryUnavailable',
      });
      server.requests.length = 0;
      server.intercept = () => false;
      await test.pull(name());
      expect(ranges()[0]).to.match(/^bytes=[1-9]/);
    });

    it('continues after a restart, and starts anew if what was left is damaged', async () => {
      await reopen({ attempts: 1 });
      server.intercept = cutAfter(1_000_000, 0, 0);
      await failureOf(test.pull(name()));
      const partial = path.join(test.root, 'images', 'ingest', `${layer.digest.replace(':', '-')}.partial`);
      const content = await readFile(partial);
      content[100] = (content[100] ?? 0) ^ 1;
      await writeFile(partial, content);
      test = await test.reopen();
      server.requests.length = 0;
      server.intercept = () => false;
      await test.pull(name());
      expect(ranges()).to.have.length(2);
      expect(ranges()[1]).to.equal(undefined);
    });

    it('tries again after 503 and 429, with the patience that is asked for', async () => {
      const answers = [503, 429, 500];
      server.intercept = (request, response) => {
        const status =
          request.method === 'GET' && request.url.includes('/manifests/') ? answers.shift() : undefined;
        if (status === undefined) return false;
        response.setHeader('retry-after', '0');
        sendError(response, status, 'BUSY', 'come back later');
        return true;
      };
      await test.pull(name());
      expect(answers).to.deep.equal([]);
    });

    it('says so when the registry limits us or fails for good', async () => {
      await reopen({ attempts: 2 });
      server.intercept = (_, response) => (sendError(response, 429, 'TOOMANYREQUESTS', 'slow\ndown'), true);
      const limited = await failureOf(test.pull(name()));
      expect(limited).to.include({ code: 'ResourceExhausted', reason: 'RegistryRateLimited' });
      expect(limited.message).to.contain('(slow down)');
      server.intercept = (_, response) => (sendError(response, 502, '', ''), true);
      expect(await failureOf(test.pull(name()))).to.include({
        code: 'Unavailable',
        reason: 'RegistryUnavailable',
      });
    });

    it('fails when nothing arrives for too long', async () => {
      await reopen({ noProgressTimeoutMs: 200 });
      server.intercept = (request, response) => {
        if (!isLayer(request)) return false;
        response.writeHead(200, { 'content-length': layer.size });
        response.write((layer.content as Buffer).subarray(0, 1000));
        return true;
      };
      const failure = await failureOf(test.pull(name()));
      expect(failure).to.include({ code: 'Unavailable', reason: 'RegistryUnavailable' });
      expect(server.requests.filter(isLayer).length).to.be.above(1);
    });
  });

  describe('credentials', () => {
    const auth = { username: 'user', password: 'geheim' };

    it('go to the registry asked for, not where it redirects to', async () => {
      await using cdn = await startImageServer();
      cdn.addBlob('app', { ...image.manifest, ...layer });
      server.intercept = (request, response) => {
        if (request.headers.authorization === undefined) {
          response.setHeader('www-authenticate', 'Basic realm="x"');
          sendError(response, 401, 'UNAUTHORIZED', 'who are you');
          return true;
        }
        if (!isLayer(request)) return false;
        response.writeHead(307, { location: `http://${cdn.host}${request.url}?signature=secret` }).end();
        return true;
      };
      await test.pull(name(), { auth });
      expect(cdn.requests).to.have.length(1);
      expect(cdn.requests[0]?.headers.authorization).to.equal(undefined);
      expect(server.requests.filter(({ headers }) => headers.authorization === undefined)).to.have.length(1);
    });

    it('are not asked for by where it redirects to', async () => {
      await using cdn = await startImageServer();
      cdn.intercept = (_, response) => {
        response.setHeader('www-authenticate', `Basic realm="x", Bearer realm="http://${cdn.host}/token"`);
        sendError(response, 401, 'UNAUTHORIZED', 'give me all');
        return true;
      };
      server.intercept = (request, response) => {
        if (!isLayer(request)) return false;
        response.writeHead(302, { location: `http://${cdn.host}${request.url}` }).end();
        return true;
      };
      expect(await failureOf(test.pull(name(), { auth }))).to.include({ code: 'Unauthenticated' });
      expect(cdn.requests.map(({ url }) => url)).to.have.length(1);
      expect(cdn.requests[0]?.headers.authorization).to.equal(undefined);
    });

    it('stop at the end of a redirect circle', async () => {
      server.intercept = (request, response) => {
        if (!isLayer(request)) return false;
        response.writeHead(302, { location: request.url }).end();
        return true;
      };
      expect((await failureOf(test.pull(name()))).message).to.contain('more than 10');
    });

    /** A token service on the same server; `check` sees what it is asked. */
    function tokens(check: (request: SeenRequest) => object | number): Intercept {
      return (request, response) => {
        if (request.url.startsWith('/token')) {
          const answer = check(request);
          if (typeof answer === 'number') sendError(response, answer, 'DENIED', 'no');
          else response.end(JSON.stringify(answer));
          return true;
        }
        if (request.headers.authorization === 'Bearer good') return false;
        response.setHeader(
          'www-authenticate',
          `Bearer realm="http://${server.host}/token",service="svc",scope="repository:app:pull"`,
        );
        sendError(response, 401, 'UNAUTHORIZED', 'token please');
        return true;
      };
    }
    const tokenRequests = (): SeenRequest[] => server.requests.filter(({ url }) => url.startsWith('/token'));

    it('get a token once and use it for all that follows', async () => {
      server.intercept = tokens(() => ({ token: 'good', expires_in: 300 }));
      await test.pull(name(), { auth });
      await test.pull(name(), { auth });
      expect(tokenRequests()).to.have.length(1);
      const [request] = tokenRequests();
      expect(request?.url).to.equal('/token?service=svc&scope=repository%3Aapp%3Apull');
      expect(request?.headers.authorization).to.equal(
        `Basic ${Buffer.from('user:geheim').toString('base64')}`,
      );
    });

    it('are not needed for an anonymous token', async () => {
      server.intercept = tokens(() => ({ access_token: 'good' }));
      await test.pull(name());
      expect(tokenRequests()[0]?.headers.authorization).to.equal(undefined);
    });

    it('exchange an identity token by POST', async () => {
      server.intercept = tokens(({ method, body }) => {
        const form = new URLSearchParams(body);
        expect(method).to.equal('POST');
        expect(form.get('grant_type')).to.equal('refresh_token');
        expect(form.get('refresh_token')).to.equal('refresh-me');
        return { access_token: 'good' };
      });
      await test.pull(name(), { auth: { identityToken: 'refresh-me' } });
    });

    it('send a registry token as it is', async () => {
      server.intercept = tokens(() => 500);
      await test.pull(name(), { auth: { registryToken: 'good' } });
      expect(tokenRequests()).to.deep.equal([]);
      expect(await failureOf(test.pull(name(), { auth: { registryToken: 'bad' } }))).to.include({
        code: 'Unauthenticated',
      });
    });

    it('get a new token when the old one is refused', async () => {
      const given = ['stale', 'good'];
      server.intercept = tokens(() => ({ token: given.shift() }));
      await test.pull(name(), { auth });
      expect(tokenRequests()).to.have.length(2);
    });

    const refusals: readonly (readonly [string, object | number, string])[] = [
      ['refuses', 401, 'RegistryUnauthorized'],
      ['fails', 503, 'RegistryUnavailable'],
      ['gives no token', {}, 'RegistryProtocolError'],
      ['gives a token that breaks headers', { token: 'a\r\nx: y' }, 'RegistryProtocolError'],
    ];
    for (const [what, answer, reason] of refusals)
      it(`name the cause when the token service ${what}`, async () => {
        server.intercept = tokens(() => answer);
        const failure: RuntimeError = await failureOf(test.pull(name(), { auth }));
        expect(failure).to.include({ reason });
        expect(failure.message).not.to.contain('geheim');
      });
  });
});
