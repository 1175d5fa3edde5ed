import { expect } from 'chai';
import { once } from 'node:events';
import {
  buildImage,
  buildLayer,
  type BuiltImage,
  type BuiltLayer,
} from '../../e2e/fixtures/image-builder.js';
import { startImageServer, type ImageServer } from '../../e2e/fixtures/image-server.js';
import { openContentStore } from '../content/index.js';
import { failureOf } from './testing/failure.js';
import { openTestService, type TestService } from './testing/open-service.js';

/** Lets a test hold something back and release it. */
class Gate {
  readonly reached: Promise<void>;
  readonly opened: Promise<void>;
  reach = (): void => undefined;
  open = (): void => undefined;

  constructor() {
    this.reached = new Promise((resolve) => (this.reach = resolve));
    this.opened = new Promise((resolve) => (this.open = resolve));
  }

  async pass(): Promise<void> {
    this.reach();
    await this.opened;
  }
}

describe('pulls at the same time', () => {
  let server: ImageServer;
  let test: TestService;
  let layers: readonly BuiltLayer[];
  let image: BuiltImage;

  before(async () => {
    layers = await Promise.all(
      ['a', 'b', 'c', 'd', 'e'].map((name) => buildLayer([{ name, content: name }])),
    );
  });
  beforeEach(async () => {
    server = await startImageServer();
    image = buildImage({ layers });
    server.add('app', '1', image);
    test = await openTestService({ openContent: openContentStore });
  });
  afterEach(async () => {
    await test[Symbol.asyncDispose]();
    await server.stop();
  });

  const name = (): string => `${server.host}/app:1`;
  const pull = (signal: AbortSignal, reference = name()): Promise<unknown> =>
    test.service.pull({ reference }, signal);
  const blobRequests = (): number => server.requests.filter(({ url }) => url.includes('/blobs/')).length;

  /** Holds the unpacking of one layer. */
  function hold(layer: BuiltLayer | undefined): Gate {
    const gate = new Gate();
    test.layers.onPrepare = async ({ digest, signal }) => {
      if (digest !== layer?.digest) return;
      await Promise.race([gate.pass(), once(signal, 'abort')]);
      signal.throwIfAborted();
    };
    return gate;
  }

  it('of the same image are one', async () => {
    const results = await Promise.all(Array.from({ length: 20 }, () => test.pull(name())));
    expect(new Set(results).size).to.equal(1);
    expect(server.requests.filter(({ url }) => url.includes('/manifests/'))).to.have.length(1);
    expect(blobRequests()).to.equal(layers.length + 1);
  });

  it('with different credentials are not', async () => {
    await Promise.all(['x', 'y'].map((password) => test.pull(name(), { auth: { username: 'u', password } })));
    expect(server.requests.filter(({ url }) => url.includes('/manifests/'))).to.have.length(2);
    expect(blobRequests()).to.be.at.most(layers.length + 2);
  });

  it('survive that one caller leaves', async () => {
    const gate = hold(layers[2]);
    const leaver = new AbortController();
    const left = failureOf(pull(leaver.signal));
    const stayed = test.pull(name());
    await gate.reached;
    leaver.abort();
    expect(await left).to.include({ code: 'Cancelled' });
    gate.open();
    expect((await stayed).id).to.equal(image.config.digest);
    expect(test.service.counters()).to.include({ pulls: 1, failures: 0 });
  });

  it('end when all callers leave, and leave nothing half made', async () => {
    const gate = hold(layers[2]);
    const leaver = new AbortController();
    const left = [pull(leaver.signal), pull(leaver.signal)].map(failureOf);
    await gate.reached;
    leaver.abort();
    for (const failure of await Promise.all(left)) expect(failure).to.include({ code: 'Cancelled' });
    await test.service.close();
    expect([...test.layers.prepared]).to.deep.equal([]);
    expect(test.service.list()).to.deep.equal([]);
    expect(test.service.counters().active).to.equal(0);
    test = await test.reopen();
    expect(test.layers.list()).to.deep.equal([]);
    expect(test.content.list()).to.deep.equal([]);
  });

  it('of images that share layers wait for each other, not in a circle', async () => {
    server.add('other', '1', buildImage({ layers: [...layers.slice(0, 3), ...layers.slice(0, 2)] }));
    server.add('third', '1', buildImage({ layers: layers.slice(0, 4) }));
    const pulled = await Promise.all(
      ['app:1', 'other:1', 'third:1'].map((reference) => test.pull(`${server.host}/${reference}`)),
    );
    expect(pulled.map(({ layers: { length } }) => length)).to.deep.equal([5, 5, 4]);
    for (const { digest } of layers)
      expect(
        server.requests.filter(({ url }) => url.endsWith(digest)),
        digest,
      ).to.have.length(1);
    const prepared = test.layers.log.filter((line) => line.startsWith('prepare'));
    expect(new Set(prepared).size).to.equal(prepared.length);
  });

  it('take over a shared layer when the pull that had it fails', async () => {
    server.add('other', '1', buildImage({ layers: layers.slice(0, 3) }));
    const gate = hold(layers[2]);
    const leaver = new AbortController();
    const left = failureOf(pull(leaver.signal));
    await gate.reached;
    const other = test.pull(`${server.host}/other:1`);
    leaver.abort();
    await left;
    gate.open();
    expect((await other).layers).to.have.length(3);
  });

  it('download so many layers at a time and no more', async () => {
    await test[Symbol.asyncDispose]();
    test = await openTestService({ openContent: openContentStore, parallelDownloads: 2 });
    const pair = new Gate();
    let [running, most] = [0, 0];
    test.layers.onPrepare = async () => {
      running += 1;
      most = Math.max(most, running);
      if (running === 2) pair.open();
      await pair.opened;
      running -= 1;
    };
    await test.pull(name());
    expect(most).to.equal(2);
  });

  it('stop at the first failure and name it', async () => {
    test.layers.onPrepare = async ({ digest }) => {
      if (digest === layers[3]?.digest) throw new Error('no more of this');
    };
    expect((await failureOf(test.pull(name()))).message).to.contain('no more of this');
    expect([...test.layers.prepared]).to.deep.equal([]);
    test.layers.onPrepare = async () => undefined;
    await test.pull(name());
  });

  it('are aborted when the service closes', async () => {
    const gate = hold(layers[0]);
    const pulling = failureOf(test.pull(name()));
    await gate.reached;
    await test.service.close();
    expect(await pulling).to.include({ code: 'Unavailable' });
  });
});

describe('removal', () => {
  let server: ImageServer;
  let test: TestService;
  let shared: BuiltLayer;
  let own: BuiltLayer;

  before(async () => {
    shared = await buildLayer([{ name: 'shared' }]);
    own = await buildLayer([{ name: 'own' }]);
  });
  beforeEach(async () => {
    server = await startImageServer();
    server.add('one', '1', buildImage({ layers: [shared] }));
    server.add('two', '1', buildImage({ layers: [shared, own] }));
    server.add('two', '2', buildImage({ layers: [shared, own] }));
    test = await openTestService({ openContent: openContentStore });
  });
  afterEach(async () => {
    await test[Symbol.asyncDispose]();
    await server.stop();
  });

  it('takes the image with all its names and what only it used', async () => {
    const one = await test.pull(`${server.host}/one:1`);
    await test.pull(`${server.host}/two:1`);
    const two = await test.pull(`${server.host}/two:2`);
    expect(two.repoTags).to.have.length(2);
    await test.service.remove(`${server.host}/two:1`);
    expect(test.service.list().map(({ id }) => id)).to.deep.equal([one.id]);
    expect(test.layers.list()).to.deep.equal(one.layers.map(({ chainId }) => chainId));
    expect(test.content.list()).to.have.length(3);
    await test.service.remove(one.id);
    expect(test.content.list()).to.deep.equal([]);
    expect(test.layers.list()).to.deep.equal([]);
    expect((await test.service.usage()).bytes).to.equal(0n);
  });

  it('of what is not there succeeds', async () => {
    for (const name of ['busybox', 'sha256:abc', '', `sha256:${'0'.repeat(64)}`, '../..'])
      await test.service.remove(name);
    await test.pull(`${server.host}/one:1`);
    await Promise.all([1, 2, 3].map(() => test.service.remove(`${server.host}/one:1`)));
    expect(test.content.list()).to.deep.equal([]);
  });

  it('leaves layers in use until their last user is gone, also over a restart', async () => {
    const image = await test.pull(`${server.host}/two:1`);
    test.service.pin(image.id, 'container-1');
    test.service.pin(image.id, 'container-2');
    expect(test.service.ownersOf(image.id)).to.have.members(['container-1', 'container-2']);
    await test.service.remove(image.id);
    expect(test.service.list()).to.deep.equal([]);
    expect(test.service.get(image.id)).to.equal(undefined);
    expect(test.layers.list()).to.have.length(2);
    test.service.unpin(image.id, 'container-1');
    test.service.unpin(image.id, 'container-1');
    await test.service.sweep();
    expect(test.layers.list()).to.have.length(2);

    // The containers are recovered before the sweep.
    test = await test.reopen(({ service }) => service.pin(image.id, 'container-2'));
    expect(test.service.list()).to.deep.equal([]);
    expect(test.layers.list()).to.have.length(2);
    test.service.unpin(image.id, 'container-2');
    await test.service.sweep();
    expect(test.layers.list()).to.deep.equal([]);
    expect(test.content.list()).to.deep.equal([]);
  });

  it('is undone by a pull while layers are still in use', async () => {
    const image = await test.pull(`${server.host}/two:1`);
    test.service.pin(image.id, 'container-1');
    await test.service.remove(image.id);
    await test.pull(`${server.host}/two:1`);
    test.service.unpin(image.id, 'container-1');
    await test.service.sweep();
    expect(test.service.list()).to.have.length(1);
    expect(test.layers.list()).to.have.length(2);
  });

  it('at the same time as pulls never takes what they need', async () => {
    for (let round = 0; round < 10; round++) {
      const [image] = await Promise.all([
        test.pull(`${server.host}/two:1`),
        test.pull(`${server.host}/one:1`).then(({ id }) => test.service.remove(id)),
        test.service.remove(`${server.host}/one:1`),
      ]);
      for (const { chainId, digest } of image.layers) {
        expect(test.layers.has(chainId)).to.equal(true);
        expect(test.content.size(digest)).not.to.equal(undefined);
      }
      await test.service.remove(image.id);
      expect(test.layers.list()).to.deep.equal([]);
    }
  });

  it('knows pinned images by name', async () => {
    await test[Symbol.asyncDispose]();
    test = await openTestService({ openContent: openContentStore, pinned: [`${server.host}/one:1`] });
    expect((await test.pull(`${server.host}/one:1`)).pinned).to.equal(true);
    expect((await test.pull(`${server.host}/two:1`)).pinned).to.equal(false);
  });
});
