import { expect } from 'chai';
import { readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { buildImage, buildIndex, buildLayer } from '../../e2e/fixtures/image-builder.js';
import { startImageServer, type ImageServer } from '../../e2e/fixtures/image-server.js';
import { hexOf } from '../base/digest.js';
import { openContentStore } from '../content/index.js';
import { openTestService, type TestService } from './testing/open-service.js';
import type { Image } from './types.js';

describe('images after a restart', () => {
  let server: ImageServer;
  let test: TestService;
  let one: Image;
  let two: Image;

  beforeEach(async () => {
    const layers = await Promise.all(['a', 'b'].map((name) => buildLayer([{ name }])));
    server = await startImageServer();
    server.add('one', '1', buildImage({ layers: layers.slice(0, 1) }));
    server.add('two', '1', buildIndex([buildImage({ layers, config: { User: 'two' } })]));
    test = await openTestService({ openContent: openContentStore });
    one = await test.pull(`${server.host}/one:1`);
    two = await test.pull(`${server.host}/two:1`);
  });
  afterEach(async () => {
    await test[Symbol.asyncDispose]();
    await server.stop();
  });

  const at = (...parts: string[]): string => path.join(test.root, 'images', ...parts);

  it('come back without names if index.json is damaged, and a pull names them without a download', async () => {
    await writeFile(at('index.json'), 'garbage');
    test = await test.reopen();
    expect(test.service.list().map(({ id, repoTags }) => [id, repoTags])).to.have.deep.members([
      [one.id, []],
      [two.id, []],
    ]);
    expect(await readFile(at('index.json.corrupt'), 'utf8')).to.equal('garbage');
    expect(test.service.get(two.id)?.config.user).to.equal('two');
    const pulled = await test.pull(`${server.host}/two:1`);
    expect(pulled.repoTags).to.deep.equal([`${server.host}/two:1`]);
    expect(test.service.counters().downloadedBytes).to.equal(0);
    test = await test.reopen();
    expect(test.service.list()).to.have.length(2);
  });

  it('are dropped one by one if their documents are damaged', async () => {
    await writeFile(at('blobs/sha256', hexOf(one.id)), '{}');
    test = await test.reopen();
    expect(test.service.list()).to.deep.equal([two]);
    expect((await test.pull(`${server.host}/one:1`)).id).to.equal(one.id);
  });

  it('are hidden if layers were lost, and whole again after a pull from the blobs', async () => {
    const lost = two.layers[1];
    test.layers.committed.delete(lost?.chainId ?? '');
    test = await test.reopen();
    expect(test.service.list()).to.deep.equal([one]);
    expect(test.service.get(two.id)).to.equal(undefined);
    await test.pull(`${server.host}/two:1`);
    expect(test.service.get(two.id)).to.deep.equal(two);
    expect(test.service.counters().downloadedBytes).to.equal(0);
  });

  it('download a blob again that was lost or damaged with its layer', async () => {
    for (const damage of [(file: string) => rm(file), (file: string) => writeFile(file, 'x')]) {
      for (const { chainId, digest } of two.layers) {
        test.layers.committed.delete(chainId);
        await damage(at('blobs/sha256', hexOf(digest)));
      }
      test = await test.reopen();
      await test.pull(`${server.host}/two:1`);
      expect(test.service.get(two.id)).to.deep.equal(two);
    }
  });

  it('leave no orphans: the sweep takes what no image needs', async () => {
    await test.layers.commit([
      { chainId: 'sha256:orphan', diffId: '', bytes: 1n, discard: async () => undefined },
    ]);
    const entries = JSON.parse(await readFile(at('index.json'), 'utf8')) as {
      manifests: { annotations: object }[];
    };
    entries.manifests = entries.manifests.filter(({ annotations }) =>
      JSON.stringify(annotations).includes('/two'),
    );
    await writeFile(at('index.json'), JSON.stringify(entries));
    test = await test.reopen();
    expect(test.service.list()).to.deep.equal([two]);
    expect(test.layers.list()).to.have.members(two.layers.map(({ chainId }) => chainId));
    // index, manifest, configuration, two layers
    expect(test.content.list()).to.have.length(5);
  });
});
