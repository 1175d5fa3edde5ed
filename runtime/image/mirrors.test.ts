import { expect } from 'chai';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buildImage, buildLayer, type BuiltImage } from '../../e2e/fixtures/image-builder.js';
import { sendBlob, sendError, startImageServer, type ImageServer } from '../../e2e/fixtures/image-server.js';
import { openContentStore } from '../content/index.js';
import { failureOf } from './testing/failure.js';
import { openTestService, type TestService } from './testing/open-service.js';

/** Everything about `registry.test` is in a hosts.toml: two mirrors and the registry, all servers of this test. */
describe('mirrors', () => {
  let first: ImageServer;
  let second: ImageServer;
  let own: ImageServer;
  let image: BuiltImage;
  let test: TestService;
  let configPath: string;

  before(async () => {
    image = buildImage({
      layers: [await buildLayer([{ name: 'a' }]), await buildLayer([{ name: 'b' }], 'none')],
    });
  });
  beforeEach(async () => {
    [first, second, own] = await Promise.all([startImageServer(), startImageServer(), startImageServer()]);
    for (const server of [first, second, own]) server.add('team/app', '1', image);
    configPath = await mkdtemp(path.join(tmpdir(), 'podwright-mirrors-'));
    test = await openTestService({
      openContent: openContentStore,
      configPath: [configPath],
      plainHttpLoopback: false,
    });
  });
  afterEach(async () => {
    await test[Symbol.asyncDispose]();
    await Promise.all([first, second, own].map((server) => server.stop()));
    await rm(configPath, { recursive: true, force: true });
  });

  async function configure(extra: { first?: string; second?: string } = {}): Promise<void> {
    const directory = path.join(configPath, 'registry.test');
    await mkdir(directory, { recursive: true });
    await writeFile(
      path.join(directory, 'hosts.toml'),
      `server = "http://${own.host}"
       [host."http://${first.host}"]
         ${extra.first ?? ''}
       [host."http://${second.host}"]
         ${extra.second ?? ''}`,
    );
  }
  const pull = (request: Parameters<TestService['pull']>[1] = {}): ReturnType<TestService['pull']> =>
    test.pull('registry.test/team/app:1', request);
  const urls = (server: ImageServer): string[] => server.requests.map(({ url }) => url);

  it('are asked first, and told which registry is meant', async () => {
    await configure();
    const pulled = await pull();
    expect(pulled.repoTags).to.deep.equal(['registry.test/team/app:1']);
    expect(urls(first)).to.have.length(4);
    for (const url of urls(first)) expect(url).to.match(/^\/v2\/team\/app\/.*\?ns=registry\.test$/);
    expect([...urls(second), ...urls(own)]).to.deep.equal([]);
  });

  it('are passed over in order when they fail, do not have it or are gone', async () => {
    await configure();
    await first.stop();
    second.intercept = (request, response) => {
      if (request.url.includes('/manifests/')) sendError(response, 404, 'MANIFEST_UNKNOWN', 'not cached');
      else sendError(response, 503, 'UNAVAILABLE', 'broken');
      return true;
    };
    await pull();
    expect(urls(own)).to.have.length(4);
    for (const url of urls(own)) expect(url).not.to.contain('ns=');
  });

  it("leave the registry's own answer as the reason of a failure", async () => {
    await configure();
    await first.stop();
    second.intercept = (_, response) => (sendError(response, 500, '', ''), true);
    own.intercept = (_, response) => (sendError(response, 403, 'DENIED', 'not yours'), true);
    const failure = await failureOf(pull());
    expect(failure).to.include({ code: 'PermissionDenied', reason: 'RegistryForbidden' });
    expect(failure.message).to.contain('(not yours)');
  });

  it('that may not resolve only deliver by digest', async () => {
    await configure({ first: 'capabilities = ["pull"]', second: 'capabilities = ["pull"]' });
    await pull();
    expect(urls(own)).to.deep.equal(['/v2/team/app/manifests/1']);
    expect(urls(first)).to.have.length(3);
    await own.stop();
    const byDigest = `registry.test/team/app@${image.manifest.digest}`;
    for (let round = 0; round < 2; round++) await test.pull(byDigest);
    expect(test.service.get(byDigest)?.id).to.equal(image.config.digest);
  });

  it('that lie about content are asked no more', async () => {
    await configure();
    for (const mirror of [first, second])
      mirror.intercept = (request, response) => {
        if (!request.url.includes('/blobs/')) return false;
        const digest = /sha256:[0-9a-f]+/.exec(request.url)?.[0];
        const blob = [image.config, ...image.layers].find((one) => one.digest === digest) ?? image.config;
        const content = Buffer.from(blob.content as Uint8Array).reverse();
        sendBlob(request, response, { ...blob, content });
        return true;
      };
    await pull();
    expect(urls(own).length).to.be.at.least(3);
    expect([...test.layers.prepared]).to.deep.equal([]);
  });

  it('that lie about manifests are passed over', async () => {
    await configure();
    first.intercept = (request, response) => {
      sendBlob(
        request,
        response,
        { ...image.manifest, content: Buffer.from('{}'), size: 2 },
        image.manifest.mediaType,
      );
      return true;
    };
    await pull();
    expect(urls(second)).to.have.length(4);
  });

  it('get no credentials but their own', async () => {
    await configure({ second: 'header = { Authorization = "Bearer mirror" }' });
    first.intercept = (_, response) => {
      response.setHeader('www-authenticate', 'Basic realm="mirror"');
      sendError(response, 401, 'UNAUTHORIZED', 'who');
      return true;
    };
    second.intercept = (_, response) => (sendError(response, 404, '', ''), true);
    own.intercept = (request, response) => {
      if (request.headers.authorization !== undefined) return false;
      response.setHeader('www-authenticate', 'Basic realm="own"');
      sendError(response, 401, 'UNAUTHORIZED', 'who');
      return true;
    };
    await pull({ auth: { username: 'user', password: 'geheim', serverAddress: 'registry.test' } });
    for (const { headers } of first.requests) expect(headers.authorization).to.equal(undefined);
    for (const { headers } of second.requests) expect(headers.authorization).to.equal('Bearer mirror');
    await test.service.remove('registry.test/team/app:1');
    await pull({ auth: { username: 'user', password: 'geheim' } });
    for (const { headers } of first.requests) expect(headers.authorization).to.equal(undefined);
  });

  it('with a path of their own are asked there', async () => {
    const mirror = `http://${first.host}/cache/hub`;
    await mkdir(path.join(configPath, 'registry.test'), { recursive: true });
    await writeFile(
      path.join(configPath, 'registry.test', 'hosts.toml'),
      `server = "http://${own.host}"\n[host."${mirror}"]\noverride_path = true`,
    );
    await pull();
    expect(urls(first)[0]).to.equal('/cache/hub/team/app/manifests/1?ns=registry.test');
  });

  it('are not needed for a registry on loopback: plain http is spoken where no TLS is, credentials and all', async () => {
    own.intercept = ({ headers }, response) => {
      if (headers.authorization !== undefined) return false;
      response.setHeader('www-authenticate', 'Basic realm="own"');
      sendError(response, 401, 'UNAUTHORIZED', 'who');
      return true;
    };
    const reference = `${own.host}/team/app:1`;
    expect(await failureOf(test.pull(reference))).to.include({ reason: 'RegistryUnauthorized' });
    const pulled = await test.pull(reference, { auth: { username: 'user', password: 'geheim' } });
    expect(pulled.repoTags).to.deep.equal([reference]);
  });
});
