import { expect } from 'chai';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import {
  buildImage,
  buildIndex,
  buildLayer,
  type BuiltImage,
  type BuiltLayer,
} from '../../e2e/fixtures/image-builder.js';
import {
  pushImage,
  registryMissing,
  registryUser,
  startRegistry,
  type Registry,
} from '../../e2e/fixtures/registry.js';
import { openContentStore } from '../content/index.js';
import { failureOf } from './testing/failure.js';
import { openTestService, type TestService } from './testing/open-service.js';

describe('pull from a registry', function () {
  let registry: Registry;
  let locked: Registry;
  let test: TestService;
  let layers: { a: BuiltLayer; b: BuiltLayer; c: BuiltLayer };

  before(async function () {
    const missing = await registryMissing();
    if (missing !== undefined) {
      console.log(`    skipped: ${missing}`);
      return this.skip();
    }
    registry = await startRegistry();
    locked = await startRegistry({ auth: true });
    layers = {
      a: await buildLayer([{ name: 'a', content: 'a'.repeat(100_000) }]),
      b: await buildLayer([{ name: 'b' }], 'none'),
      c: await buildLayer([{ name: 'c/' }, { name: 'c/d', linkname: '/etc' }]),
    };
  });
  after(async () => {
    await registry?.stop();
    await locked?.stop();
  });
  beforeEach(async () => {
    test = await openTestService({ openContent: openContentStore });
  });
  afterEach(async () => test[Symbol.asyncDispose]());

  const push = (
    image: BuiltImage | ReturnType<typeof buildIndex>,
    repository: string,
    tag = 'latest',
  ): Promise<string> => pushImage(image, { host: registry.host, repository, tag });

  for (const format of ['oci', 'docker'] as const) {
    it(`pulls ${format} images by tag`, async () => {
      const built = buildImage({
        layers: [layers.a, layers.b, layers.c],
        format,
        config: { User: 'me', Cmd: ['/c/d'] },
      });
      await push(built, `plain-${format}`, 'v1');
      const image = await test.pull(`${registry.host}/plain-${format}:v1`);
      expect(image.id).to.equal(built.config.digest);
      expect(image.repoTags).to.deep.equal([`${registry.host}/plain-${format}:v1`]);
      expect(image.repoDigests).to.deep.equal([`${registry.host}/plain-${format}@${built.manifest.digest}`]);
      expect(image.config).to.deep.include({ user: 'me', cmd: ['/c/d'] });
      expect(image.layers.map(({ diffId }) => diffId)).to.deep.equal(
        [layers.a, layers.b, layers.c].map(({ diffId }) => diffId),
      );
      const sizes = [built.manifest, built.config, ...built.layers].map(({ size }) => size);
      expect(image.sizeBytes).to.equal(BigInt(sizes.reduce((sum, size) => sum + size)));
      expect(test.layers.list()).to.have.members(image.layers.map(({ chainId }) => chainId));
    });

    it(`chooses the platform in ${format} indexes`, async () => {
      const platforms = ['arm64', 's390x', 'amd64', 'riscv64'].map((architecture) =>
        buildImage({ layers: [layers.b], format, platform: { os: 'linux', architecture } }),
      );
      const index = buildIndex(platforms, format);
      await push(index, `multi-${format}`);
      for (const [place, architecture] of ['arm64', 's390x', 'amd64'].entries()) {
        const image = await test.pull(`${registry.host}/multi-${format}`, {
          platform: { os: 'linux', architecture },
        });
        expect(image.id).to.equal(platforms[place]?.config.digest);
        expect(image.repoDigests).to.deep.equal([
          `${registry.host}/multi-${format}@${index.manifest.digest}`,
        ]);
      }
      const failure = await failureOf(
        test.pull(`${registry.host}/multi-${format}`, { platform: { os: 'linux', architecture: 'mips' } }),
      );
      expect(failure).to.include({ code: 'NotFound', reason: 'PlatformMissing' });
    });
  }

  it('pulls by digest, and refuses another platform', async () => {
    const built = buildImage({ layers: [layers.a] });
    const digest = await push(built, 'by-digest');
    const image = await test.pull(`${registry.host}/by-digest:ignored@${digest}`);
    expect(image.repoTags).to.deep.equal([]);
    expect(image.repoDigests).to.deep.equal([`${registry.host}/by-digest@${digest}`]);
    expect(test.service.get(`${registry.host}/by-digest@${digest}`)?.id).to.equal(image.id);
    await push(buildImage({ layers: [], platform: { os: 'windows', architecture: 'amd64' } }), 'windows');
    expect(await failureOf(test.pull(`${registry.host}/windows`))).to.include({
      code: 'NotFound',
      reason: 'PlatformMissing',
    });
  });

  it('downloads and unpacks shared layers once, and repeated ones too', async () => {
    await push(buildImage({ layers: [layers.a, layers.b] }), 'first');
    await push(buildImage({ layers: [layers.a, layers.b, layers.c, layers.b, layers.c] }), 'second');
    await test.pull(`${registry.host}/first`);
    const before = test.service.counters().downloadedBytes;
    const image = await test.pull(`${registry.host}/second`);
    expect(test.service.counters().downloadedBytes - before).to.equal(layers.c.size);
    expect(test.layers.log.filter((line) => line.startsWith('prepare'))).to.have.length(5);
    const commits = test.layers.log.filter((line) => line.startsWith('commit'));
    expect(commits).to.deep.equal(image.layers.map(({ chainId }) => `commit ${chainId}`));
  });

  it('asks again for a tag and follows it when it moves', async () => {
    const [old, young] = [buildImage({ layers: [layers.a] }), buildImage({ layers: [layers.b] })];
    const reference = `${registry.host}/moving:1`;
    await push(old, 'moving', '1');
    await test.pull(reference);
    const again = await test.pull(reference);
    expect(again).to.equal(test.service.get(reference));
    await push(young, 'moving', '1');
    expect((await test.pull(reference)).id).to.equal(young.config.digest);
    expect(test.service.get(old.config.digest)).to.deep.include({ repoTags: [] });
    expect(test.service.get(old.config.digest)?.repoDigests).to.deep.equal([
      `${registry.host}/moving@${old.manifest.digest}`,
    ]);
  });

  it('finds an image by every name it has', async () => {
    const built = buildImage({ layers: [layers.a] });
    await push(built, 'names/x', '1');
    const image = await test.pull(`${registry.host}/names/x:1`);
    const hex = built.config.digest.slice('sha256:'.length);
    for (const name of [
      image.id,
      hex,
      hex.slice(0, 12),
      `sha256:${hex.slice(0, 20)}`,
      ...image.repoTags,
      ...image.repoDigests,
    ])
      expect(test.service.get(name), name).to.equal(image);
    for (const name of [
      hex.slice(0, 11),
      `${registry.host}/names/x`,
      'names/x:1',
      `sha256:${'0'.repeat(64)}`,
      '',
      '/',
    ])
      expect(test.service.get(name), name).to.equal(undefined);
  });

  it('says what is wrong in words', async () => {
    const name = `${locked.host}/private:1`;
    await pushImage(buildImage({ layers: [layers.b] }), {
      host: locked.host,
      repository: 'private',
      tag: '1',
      credentials: registryUser,
    });
    const failures = {
      missing: await failureOf(test.pull(`${registry.host}/no/such/image:1`)),
      anonymous: await failureOf(test.pull(name)),
      wrong: await failureOf(test.pull(name, { auth: { username: 'podwright', password: 'guess' } })),
      elsewhere: await failureOf(test.pull(name, { auth: { ...registryUser, serverAddress: 'quay.io' } })),
      unreachable: await failureOf(test.pull('127.0.0.1:1/a:1')),
    };
    expect(failures.missing).to.include({ code: 'NotFound', reason: 'ImageNotFound' });
    expect(failures.anonymous).to.include({ code: 'Unauthenticated', reason: 'RegistryUnauthorized' });
    expect(failures.anonymous.message).to.contain('asks for credentials and none were given');
    expect(failures.wrong.message).to.contain('refuses the credentials').and.not.contain('guess');
    expect(failures.elsewhere.message).to.contain('the credentials given are for another registry');
    expect(failures.unreachable).to.include({ code: 'Unavailable', reason: 'RegistryUnavailable' });
    expect(failures.unreachable.message).to.equal(
      'pull image 127.0.0.1:1/a:1: reach registry: 127.0.0.1:1: connection refused',
    );
    expect(test.service.counters()).to.include({ pulls: 5, failures: 5, active: 0 });
  });

  it('shows its credentials to a registry that asks, in both forms', async () => {
    await pushImage(buildImage({ layers: [layers.c] }), {
      host: locked.host,
      repository: 'team/app',
      tag: '1',
      credentials: registryUser,
    });
    const auth = Buffer.from(`${registryUser.username}:${registryUser.password}`).toString('base64');
    await test.pull(`${locked.host}/team/app:1`, {
      auth: { ...registryUser, serverAddress: `http://${locked.host}` },
    });
    await test.pull(`${locked.host}/team/app:1`, { auth: { auth } });
    expect(await failureOf(test.pull(`${locked.host}/team/app:1`))).to.include({ code: 'Unauthenticated' });
  });

  it('keeps everything over a restart, in a layout that others can read', async () => {
    const index = buildIndex([buildImage({ layers: [layers.a, layers.b] })]);
    await push(index, 'lasting', '1');
    const image = await test.pull(`${registry.host}/lasting:1`);
    test = await test.reopen();
    expect(test.service.list()).to.deep.equal([image]);
    const layout = JSON.parse(await readFile(path.join(test.root, 'images', 'index.json'), 'utf8')) as {
      manifests: { digest: string; annotations: Record<string, string> }[];
    };
    expect(
      layout.manifests.map(({ digest, annotations }) => [
        digest,
        annotations['org.opencontainers.image.ref.name'],
      ]),
    ).to.deep.equal([
      [index.manifest.digest, `${registry.host}/lasting:1`],
      [index.manifest.digest, `${registry.host}/lasting@${index.manifest.digest}`],
    ]);
  });

  it('tells how far it is', async () => {
    await test[Symbol.asyncDispose]();
    const seen: number[] = [];
    test = await openTestService({
      openContent: openContentStore,
      onProgress: ({ bytesDone, bytes, layersDone, layers: all }) => {
        expect(bytesDone).to.be.at.most(bytes);
        expect(layersDone).to.be.at.most(all);
        seen.push(layersDone);
      },
    });
    await push(buildImage({ layers: [layers.a, layers.c] }), 'progress');
    await test.pull(`${registry.host}/progress`);
    expect(seen[0]).to.equal(0);
    expect(seen.at(-1)).to.equal(2);
  });
});
