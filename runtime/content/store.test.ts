import { expect } from 'chai';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { digestOf, hexOf, type Digest } from '../base/digest.js';
import { silentLogger } from '../base/logger.js';
import type { RuntimeError } from '../errors.js';
import { openContentStore } from './store.js';
import type { ContentStore } from './types.js';

describe('content store', () => {
  let root: string;
  let store: ContentStore;
  const content = randomBytes(1_000_000);
  const digest = digestOf(content);
  const entry = {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest,
    size: 5,
    annotations: { a: 'b' },
  };

  const open = (): Promise<ContentStore> => openContentStore({ path: root, logger: silentLogger });
  const file = (of: Digest): string => path.join(root, 'blobs', of.split(':')[0] ?? '', hexOf(of));
  const failure = async (work: Promise<unknown>): Promise<RuntimeError> =>
    work.then(
      () => Promise.reject(new Error('it did not fail')),
      (error: RuntimeError) => error,
    );
  async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
    const all: Uint8Array[] = [];
    for await (const chunk of chunks) all.push(chunk);
    return Buffer.concat(all);
  }

  beforeEach(async () => {
    root = path.join(await mkdtemp(path.join(tmpdir(), 'podwright-content-')), 'images');
    store = await open();
  });
  afterEach(() => rm(path.dirname(root), { recursive: true, force: true }));

  for (const algorithm of ['sha256', 'sha512'] as const)
    it(`stores and reads blobs by ${algorithm}`, async () => {
      const name = digestOf(content, algorithm);
      await store.write(name, content);
      expect(store.size(name)).to.equal(content.length);
      expect((await store.readAll(name, content.length)).equals(content)).to.equal(true);
      expect((await stat(file(name))).mode & 0o777).to.equal(0o600);
      expect(store.usage()).to.deep.equal({ bytes: 1_000_000n, inodes: 1n });
      const again = await open();
      expect(again.list()).to.deep.equal([name]);
      await again.remove(name);
      await again.remove(name);
      expect(again.list()).to.deep.equal([]);
    });

  it('is readable by root only', async () => {
    for (const directory of ['', 'ingest', 'blobs/sha256'])
      expect((await stat(path.join(root, directory))).mode & 0o777, directory).to.equal(0o700);
    expect(await readFile(path.join(root, 'oci-layout'), 'utf8')).to.equal('{"imageLayoutVersion":"1.0.0"}');
  });

  it('refuses what its name does not say, and what is too large', async () => {
    expect(await failure(store.write(digestOf('other'), content))).to.include({ reason: 'DigestMismatch' });
    await store.write(digest, content);
    expect(await failure(store.readAll(digest, 10))).to.include({ code: 'ResourceExhausted' });
    expect(await failure(store.readAll(digestOf('missing'), 10))).to.include({ code: 'NotFound' });
    await writeFile(file(digest), Buffer.alloc(content.length));
    expect(await failure(collect(store.read(digest)))).to.include({
      code: 'DataLoss',
      reason: 'DigestMismatch',
    });
    expect(await readdir(path.join(root, 'ingest'))).to.deep.equal([]);
  });

  it('shows a blob only after its digest matched', async () => {
    const ingest = await store.ingest(digest, content.length);
    for (let at = 0; at < content.length; at += 70_000)
      await ingest.append(content.subarray(at, at + 70_000));
    expect(await failure(ingest.commit())).to.include({ code: 'Internal' });
    expect(store.size(digest)).to.equal(undefined);
    ingest.verify();
    await ingest.commit();
    expect((await collect(store.read(digest))).equals(content)).to.equal(true);
  });

  it('notices a blob that is too short, too long or different', async () => {
    const short = await store.ingest(digest, content.length);
    await short.append(content.subarray(1));
    expect(() => short.verify()).to.throw('999999 bytes instead of 1000000');
    expect(await failure(short.append(content))).to.include({ code: 'DataLoss' });
    await short.abort();
    const different = await store.ingest(digest, content.length);
    await different.append(Buffer.alloc(content.length));
    expect(() => different.verify()).to.throw('the content has the digest');
    await different.abort();
    expect(await readdir(path.join(root, 'ingest'))).to.deep.equal([]);
  });

  it('continues an ingest that was suspended, also in the next process', async () => {
    const first = await store.ingest(digest, content.length);
    await first.append(content.subarray(0, 600_000));
    await first.suspend();
    const second = await (await open()).ingest(digest, content.length);
    expect([second.left, second.offset]).to.deep.equal([600_000, 0]);
    expect((await collect(second.replay())).equals(content.subarray(0, 600_000))).to.equal(true);
    expect(second.offset).to.equal(600_000);
    await second.append(content.subarray(600_000));
    second.verify();
    await second.commit();
    expect((await readFile(file(digest))).equals(content)).to.equal(true);
  });

  it('starts anew if more was left than the blob has', async () => {
    await writeFile(
      path.join(root, 'ingest', `${digest.replace(':', '-')}.partial`),
      Buffer.alloc(2_000_000),
    );
    const ingest = await store.ingest(digest, content.length);
    expect(ingest.left).to.equal(0);
    await ingest.append(content);
    ingest.verify();
    await ingest.commit();
    expect((await stat(file(digest))).size).to.equal(content.length);
  });

  it('sweeps what cannot be continued when it opens, and partials by age when told', async () => {
    const partial = `${digest.replace(':', '-')}.partial`;
    for (const name of ['x-1-1.new', 'index.json.new', 'sha256-nohex.partial', partial])
      await writeFile(path.join(root, 'ingest', name), 'x');
    store = await open();
    const left = (): Promise<string[]> => readdir(path.join(root, 'ingest'));
    expect(await left()).to.deep.equal([partial]);
    await store.removePartials(60_000, new Set());
    expect(await left()).to.deep.equal([partial]);
    await utimes(path.join(root, 'ingest', partial), 1, 1);
    await store.removePartials(60_000, new Set([digest]));
    expect(await left()).to.deep.equal([partial]);
    await store.removePartials(60_000, new Set());
    expect(await left()).to.deep.equal([]);
  });

  it('keeps its index, writes in order and survives a failed write', async () => {
    expect(await store.readIndex()).to.equal(undefined);
    await Promise.all([1, 2, 3].map((size) => store.writeIndex([{ ...entry, size }])));
    expect(await (await open()).readIndex()).to.deep.equal([{ ...entry, size: 3 }]);
    await rm(path.join(root, 'ingest'), { recursive: true });
    expect(await failure(store.writeIndex([]))).to.include({ code: 'NotFound' });
    store = await open();
    await store.writeIndex([]);
    expect(await store.readIndex()).to.deep.equal([]);
  });

  for (const [what, text] of [
    ['torn', '{"schemaVersion":2,"manifests":[{"mediaT'],
    ['of another version', '{"schemaVersion":3,"manifests":[]}'],
    ['empty', ''],
    ['no index', '[1,2,3]'],
  ] as const)
    it(`puts an index aside that is ${what}`, async () => {
      await writeFile(path.join(root, 'index.json'), text);
      expect(await store.readIndex()).to.equal(undefined);
      expect(await readFile(path.join(root, 'index.json.corrupt'), 'utf8')).to.equal(text);
      await store.writeIndex([entry]);
      expect(await store.readIndex()).to.deep.equal([entry]);
    });
});
