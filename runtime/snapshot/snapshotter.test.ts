import { expect } from 'chai';
import {
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import {
  closeFd,
  fsconfigCreate,
  fsconfigSet,
  fsmount,
  fsopen,
  mount,
  moveMount,
  umount,
} from '../../native/index.js';
import { silentLogger } from '../base/logger.js';
import { RuntimeError } from '../errors.js';
import { openSnapshotter, type ActiveSnapshot, type Snapshotter } from './index.js';
import { mountAndDetach, openDirectory, openReadOnlyTree } from './overlay.js';
import { diffIdOf, readTar, tar, zstdFrame, type TarItem } from './tar.fixture.js';
import { inPieces, isRoot, unpackerPath } from './unpack.fixture.js';
import { TreeView } from './view.js';

const signal = new AbortController().signal;

describe('snapshotter', function () {
  let root: string;
  let store: Snapshotter;

  before(function () {
    if (!isRoot) {
      console.log('      needs root');
      this.skip();
    }
  });
  beforeEach(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'podwright-snapshot-'));
    store = await reopen();
  });
  afterEach(async () => {
    await store.close();
    if (process.env['KEEP'] !== '1') await rm(root, { recursive: true, force: true });
  });

  const reopen = (bootId = 'boot'): Promise<Snapshotter> =>
    openSnapshotter({ root, logger: silentLogger, unpackerPath, bootId });

  interface Given {
    readonly chainId: string;
    readonly parentChainId?: string;
    readonly diffId?: string;
    readonly source?: AsyncIterable<Uint8Array>;
    readonly signal?: AbortSignal;
  }

  function prepareLayer(content: Buffer, given: Given) {
    return store.layers.prepare({
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      digest: `sha256:${given.chainId}`,
      size: content.length,
      diffId: diffIdOf(content),
      source: inPieces(gzipSync(content)),
      signal,
      ...given,
    });
  }

  /** Commits a stack of layers under the chain ids a, b, c …; returns the top one. */
  async function commitStack(...layers: readonly (readonly TarItem[])[]): Promise<string> {
    const prepared = [];
    let parentChainId: string | undefined;
    for (const [index, items] of layers.entries()) {
      const chainId = `chain-${index}`;
      prepared.push(
        await prepareLayer(tar(...items), {
          chainId,
          ...(parentChainId === undefined ? {} : { parentChainId }),
        }),
      );
      parentChainId = chainId;
    }
    await store.layers.commit(prepared);
    return parentChainId ?? '';
  }

  async function codeOf(work: Promise<unknown>): Promise<string> {
    try {
      await work;
    } catch (error) {
      if (error instanceof RuntimeError) return error.code;
      throw error;
    }
    return 'none';
  }

  const ingests = (): Promise<readonly string[]> => readdir(path.join(root, 'ingest'));
  const contentOf = ({ layersDir }: ActiveSnapshot, lower: string | undefined, name: string): string =>
    path.join(layersDir, lower ?? '', name);

  describe('layers', () => {
    it('become visible by commit only', async () => {
      const prepared = await prepareLayer(tar({ path: 'f', content: 'x' }), { chainId: 'a' });
      expect(store.layers.has('a')).to.equal(false);
      await store.layers.commit([prepared]);
      expect([store.layers.has('a'), store.layers.list()]).to.deep.equal([true, ['a']]);
      expect((await store.layers.usage()).inodes).to.equal(1n);
      await prepared.discard();
      expect(store.layers.has('a')).to.equal(true);
    });

    it('are refused when their content is not what the image says', async () => {
      const content = tar({ path: 'f' });
      expect(
        await codeOf(prepareLayer(content, { chainId: 'a', diffId: diffIdOf(Buffer.from('other')) })),
      ).to.equal('DataLoss');
      expect(await ingests()).to.deep.equal([]);
    });

    it('leave nothing when their source fails, or is called off', async () => {
      const failing = async function* (): AsyncIterable<Uint8Array> {
        yield gzipSync(tar({ path: 'f', content: Buffer.alloc(1_000_000) })).subarray(0, 600);
        await Promise.resolve();
        throw new RuntimeError('Unavailable', 'download');
      };
      expect(await codeOf(prepareLayer(tar(), { chainId: 'a', source: failing() }))).to.equal('Unavailable');

      const abort = new AbortController();
      let ended = false;
      const stuck = async function* (): AsyncIterable<Uint8Array> {
        try {
          yield Buffer.alloc(512);
          setImmediate(() => abort.abort(new RuntimeError('Cancelled', 'pull')));
          await new Promise((resolve) => abort.signal.addEventListener('abort', resolve));
          abort.signal.throwIfAborted();
        } finally {
          ended = true;
        }
      };
      expect(
        await codeOf(prepareLayer(tar(), { chainId: 'a', source: stuck(), signal: abort.signal })),
      ).to.equal('Cancelled');
      expect([ended, await ingests()]).to.deep.equal([true, []]);
    });

    it('stop a source that is too long for what is wrong with them', async () => {
      let pulled = 0;
      const endless = async function* (): AsyncIterable<Uint8Array> {
        yield tar({ path: '../evil' });
        for (; pulled < 10_000; pulled += 1) {
          yield Buffer.alloc(100_000);
          await Promise.resolve();
        }
      };
      expect(await codeOf(prepareLayer(tar(), { chainId: 'a', source: endless() }))).to.equal(
        'InvalidArgument',
      );
      expect(pulled).to.be.lessThan(10_000);
    });

    it('say that the disk is full', async () => {
      const small = path.join(root, 'small');
      await mkdir(small);
      mount('tmpfs', small, 'tmpfs', 0, 'size=1m');
      const other = await openSnapshotter({
        root: small,
        logger: silentLogger,
        unpackerPath,
        bootId: 'boot',
      });
      const content = tar({ path: 'f', content: Buffer.alloc(3_000_000, 'x') });
      const layer = {
        mediaType: '',
        digest: 'sha256:x',
        size: 1,
        diffId: diffIdOf(content),
        chainId: 'a',
        signal,
      };
      expect(await codeOf(other.layers.prepare({ ...layer, source: inPieces(content) }))).to.equal(
        'ResourceExhausted',
      );
      expect(await readdir(path.join(small, 'ingest'))).to.deep.equal([]);
      await other.close();
      umount(small, 0);
    });

    it('go parents first', async () => {
      const child = await prepareLayer(tar(), { chainId: 'b', parentChainId: 'a' });
      expect(await codeOf(store.layers.commit([child]))).to.equal('FailedPrecondition');
      const parent = await prepareLayer(tar(), { chainId: 'a' });
      await store.layers.commit([parent, child]);
      expect([...store.layers.list()].sort()).to.deep.equal(['a', 'b']);
    });

    it('may be committed twice at the same time', async () => {
      const twins = await Promise.all([
        prepareLayer(tar(), { chainId: 'a' }),
        prepareLayer(tar(), { chainId: 'a' }),
      ]);
      await Promise.all(twins.map((twin) => store.layers.commit([twin])));
      expect([store.layers.list(), await ingests()]).to.deep.equal([['a'], []]);
    });

    it('give implied directories what they are in the layers below', async () => {
      const note = { 'SCHILY.xattr.user.note': 'kept' };
      const top = await commitStack(
        [
          { path: './', mode: 0o711, uid: 3 },
          { path: 'tmp/', mode: 0o1777, gid: 7, mtime: 1234, pax: note },
          { path: 'srv/www/', mode: 0o700, uid: 33 },
        ],
        [{ path: 'tmp/x/y' }],
        [{ path: 'srv/www/z' }, { path: 'new/dir/f' }],
      );
      const snapshot = await store.snapshots.prepare('c', top);
      const [third, second] = snapshot.lower;
      const tmp = await stat(contentOf(snapshot, second, 'tmp'));
      expect([tmp.mode & 0o7777, tmp.gid, tmp.mtimeMs]).to.deep.equal([0o1777, 7, 1_234_000]);
      expect((await stat(contentOf(snapshot, second, 'tmp/x'))).mode & 0o7777).to.equal(0o755);
      const www = await stat(contentOf(snapshot, third, 'srv/www'));
      expect([www.mode & 0o7777, www.uid]).to.deep.equal([0o700, 33]);
      for (const directory of [contentOf(snapshot, third, ''), snapshot.upper]) {
        const top = await stat(directory);
        expect([top.mode & 0o7777, top.uid]).to.deep.equal([0o711, 3]);
      }
    });

    it('give the writable layer the attributes of their root', async () => {
      const top = await commitStack(
        [{ path: './', pax: { 'SCHILY.xattr.user.note': 'kept' } }],
        [{ path: 'f' }],
      );
      await store.snapshots.prepare('c', top);
      const [first] = readTar(await diffOf('c', 'none'));
      expect(first?.pax['SCHILY.xattr.user.note']?.toString()).to.equal('kept');
    });

    it('stay while a container or a layer stands on them', async () => {
      const top = await commitStack([{ path: 'a' }], [{ path: 'b' }]);
      await store.snapshots.prepare('c', top);
      await store.layers.remove('chain-0');
      await store.layers.remove('chain-1');
      expect([store.layers.has('chain-0'), store.layers.has('chain-1')]).to.deep.equal([false, false]);
      expect(await readdir(path.join(root, 'layers'))).to.have.members(['0', '1', '2']);
      await store.snapshots.remove('c');
      expect([await readdir(path.join(root, 'layers')), await ingests()]).to.deep.equal([['0'], []]);
      await store.layers.remove('chain-1');
    });

    it('come back when their image is pulled again while a container held them', async () => {
      await store.snapshots.prepare('c', await commitStack([{ path: 'a' }]));
      await store.layers.remove('chain-0');
      await commitStack([{ path: 'a' }]);
      expect(store.layers.has('chain-0')).to.equal(true);
      await store.snapshots.remove('c');
      expect([store.layers.has('chain-0'), await ingests()]).to.deep.equal([true, []]);
    });
  });

  describe('at start', () => {
    it('finds layers and snapshots, and removes what was half made', async () => {
      const top = await commitStack([{ path: 'a', content: 'a' }], [{ path: 'b' }]);
      await store.snapshots.prepare('kept', top);
      await store.snapshots.prepare('orphan', top);
      await prepareLayer(tar({ path: 'x' }), { chainId: 'unfinished' });
      await mkdir(path.join(root, 'layers', '77', 'fs'), { recursive: true });
      await mkdir(path.join(root, 'containers', 'torn', 'upper'), { recursive: true });
      await store.close();

      store = await reopen();
      expect([...store.layers.list()].sort()).to.deep.equal(['chain-0', 'chain-1']);
      expect(store.snapshots.find('kept')?.lower).to.deep.equal(['2/fs', '1/fs']);
      await store.snapshots.sweep(new Set(['kept']));
      expect(await readdir(path.join(root, 'containers'))).to.deep.equal(['kept']);
      await store.layers.remove('chain-1');
      expect(await readdir(path.join(root, 'layers'))).to.include('2');
      await store.close();
      store = await reopen();
      expect(await ingests()).to.deep.equal([]);
      const view = await store.snapshots.view(top);
      expect((await view.readFile('a', 10)).toString()).to.equal('a');
      view.close();
    });

    it('drops layers whose parent or record is lost', async () => {
      await commitStack([{ path: 'a' }], [{ path: 'b' }], [{ path: 'c' }]);
      await store.close();
      await writeFile(path.join(root, 'layers', '2', 'layer.json'), '{"version":1,');
      store = await reopen();
      expect(store.layers.list()).to.deep.equal(['chain-0']);
    });

    it('trusts layers that were not synced as long as the kernel runs', async () => {
      await commitStack([{ path: 'a' }]);
      store = await reopen(); // the daemon was killed
      expect(store.layers.list()).to.deep.equal(['chain-0']);
      await store.close();
      store = await reopen('other boot');
      expect(store.layers.list()).to.deep.equal(['chain-0']);
    });

    it('drops layers that were not synced when the kernel stopped, and what stands on them', async () => {
      await commitStack([{ path: 'a' }]);
      await store.close();
      store = await reopen('second boot');
      const parentChainId = 'chain-0';
      const middle = await prepareLayer(tar({ path: 'b' }), { chainId: 'chain-1', parentChainId });
      const top = await prepareLayer(tar({ path: 'c' }), { chainId: 'chain-2', parentChainId: 'chain-1' });
      await store.layers.commit([middle, top]);
      store = await reopen('third boot');
      expect(store.layers.list()).to.deep.equal(['chain-0']);
      expect((await readdir(path.join(root, 'layers'))).sort()).to.deep.equal(['0', '1']);
    });
  });

  describe('views', () => {
    async function viewOf(...layers: readonly (readonly TarItem[])[]): Promise<TreeView> {
      return (await store.snapshots.view(await commitStack(...layers))) as TreeView;
    }

    it('show layers as one tree', async () => {
      const view = await viewOf(
        [{ path: 'etc/passwd', content: 'old' }, { path: 'gone' }, { path: 'd/below' }],
        [
          { path: 'etc/passwd', content: 'new' },
          { path: '.wh.gone' },
          { path: 'd/.wh..wh..opq' },
          { path: 'l', type: '2', link: '/etc' },
        ],
      );
      expect((await view.readFile('/etc/passwd', 100)).toString()).to.equal('new');
      expect((await view.readFile('l/passwd', 100)).toString()).to.equal('new');
      expect([...(await view.list('/'))].sort()).to.deep.equal(['d', 'etc', 'l']);
      expect([await view.list('d'), await view.stat('gone'), await view.readlink('/l')]).to.deep.equal([
        [],
        undefined,
        '/etc',
      ]);
      view.close();
    });

    it('hide all below an opaque root', async () => {
      const view = await viewOf(
        [{ path: 'old' }],
        [{ path: '.wh..wh..opq' }, { path: 'new' }],
        [{ path: 'top' }],
      );
      expect([...(await view.list('/'))].sort()).to.deep.equal(['new', 'top']);
      view.close();
    });

    const hostile: Record<string, readonly [item: TarItem, code: string]> = {
      'a fifo': [{ path: 'passwd', type: '6' }, 'FailedPrecondition'],
      'a device': [{ path: 'passwd', type: '3', major: 1, minor: 5 }, 'FailedPrecondition'],
      'a directory': [{ path: 'passwd/' }, 'FailedPrecondition'],
      'a huge sparse file': [
        {
          path: 'x',
          pax: {
            'GNU.sparse.name': 'passwd',
            'GNU.sparse.size': '10000000000',
            'GNU.sparse.map': '10000000000,0',
          },
        },
        'ResourceExhausted',
      ],
      'a link that climbs': [
        { path: 'passwd', type: '2', link: '../../../../../../etc/hostname' },
        'NotFound',
      ],
      'an absolute link': [{ path: 'passwd', type: '2', link: '/etc/hostname' }, 'NotFound'],
      'a link to itself': [{ path: 'passwd', type: '2', link: 'passwd' }, 'NotFound'],
      'a whiteout': [{ path: '.wh.passwd' }, 'NotFound'],
    };
    for (const [name, [item, code]] of Object.entries(hostile)) {
      for (const below of [0, 1]) {
        it(`refuse ${name} in the place of a file, in ${below === 0 ? 'one layer' : 'two layers'}`, async () => {
          const view = await viewOf(...[[{ path: 'other' }], []].slice(0, below), [item]);
          expect(await codeOf(view.readFile('/passwd', 1_000_000))).to.equal(code);
          view.close();
        });
      }
    }

    it('outlive the cache, and closing is final', async () => {
      const view = await viewOf([{ path: 'a', content: 'a' }], [{ path: 'b' }]);
      await store.layers.remove('chain-1');
      expect((await view.readFile('a', 10)).toString()).to.equal('a');
      view.close();
      view.close();
      expect(await codeOf(view.readFile('a', 10))).to.equal('Internal');
    });

    it('take 128 layers, and the way of older kernels', async function () {
      this.timeout(60_000);
      const items = Array.from({ length: 128 }, (_, i): readonly TarItem[] => [
        { path: 'same', content: String(i) },
        { path: `f${i}` },
      ]);
      const top = await commitStack(...items);
      const snapshot = await store.snapshots.prepare('c', top);
      expect(snapshot.lower).to.have.length(128);
      const directoryFd = openDirectory(path.join(root, 'layers'));
      const lower = snapshot.lower.map((name) => ({ directoryFd, name }));
      for (const openTree of [openReadOnlyTree, mountAndDetach]) {
        const view = new TreeView(await openTree(lower, path.join(root, 'ingest')));
        expect((await view.readFile('same', 10)).toString()).to.equal('127');
        expect(await view.list('/')).to.have.length(129);
        view.close();
      }
      closeFd(directoryFd);
      expect(await ingests()).to.deep.equal([]);
    });
  });

  async function diffOf(key: string, compression: 'gzip' | 'none'): Promise<Buffer> {
    const file = path.join(root, 'diff');
    const handle = await open(file, 'w');
    try {
      await store.snapshots.diff(key, { fd: handle.fd, compression });
    } finally {
      await handle.close();
    }
    return readFile(file);
  }

  /** Mounts the overlay of a snapshot, as the container's plan does inside its mount namespace, and lets `use` write to it. */
  async function inOverlay(
    snapshot: ActiveSnapshot,
    use: (directory: string) => Promise<void>,
  ): Promise<void> {
    const target = path.join(root, 'mnt');
    await mkdir(target, { recursive: true });
    const fs = fsopen('overlay');
    for (const name of snapshot.lower) fsconfigSet(fs, 'lowerdir+', path.join(snapshot.layersDir, name));
    fsconfigSet(fs, 'upperdir', snapshot.upper);
    fsconfigSet(fs, 'workdir', snapshot.work);
    fsconfigCreate(fs);
    const overlay = fsmount(fs, 0);
    moveMount(overlay, -100, target);
    closeFd(overlay);
    closeFd(fs);
    try {
      await use(target);
    } finally {
      umount(target, 0);
    }
  }

  describe('snapshots', () => {
    it('may be prepared, removed and swept again and again', async () => {
      const top = await commitStack([{ path: 'a' }]);
      const first = await store.snapshots.prepare('c', top);
      expect(await store.snapshots.prepare('c', top)).to.equal(first);
      expect(await codeOf(store.snapshots.prepare('c', 'other'))).to.equal('AlreadyExists');
      expect(await codeOf(store.snapshots.prepare('d', 'missing'))).to.equal('NotFound');
      await store.snapshots.remove('c');
      await store.snapshots.remove('c');
      expect(await readdir(path.join(root, 'containers'))).to.deep.equal([]);
      expect(await store.snapshots.usage('c')).to.equal(undefined);
    });

    it('take the place of what a crash left', async () => {
      const top = await commitStack([{ path: 'a' }]);
      await mkdir(path.join(root, 'containers/c/upper'), { recursive: true });
      await writeFile(path.join(root, 'containers/c/upper/left'), '');
      const { upper } = await store.snapshots.prepare('c', top);
      expect(await readdir(upper)).to.deep.equal([]);
    });

    it('work for an image without layers', async () => {
      const { lower } = await store.snapshots.prepare('c', '');
      expect(lower).to.deep.equal(['0/fs']);
    });

    it('are measured when asked', async () => {
      const { upper } = await store.snapshots.prepare('c', await commitStack([{ path: 'a' }]));
      await writeFile(path.join(upper, 'f'), Buffer.alloc(100_000));
      const usage = await store.snapshots.usage('c');
      expect(Number(usage?.bytes)).to.be.within(100_000, 120_000);
      expect(usage?.inodes).to.equal(2n);
      expect(await store.snapshots.usage('c')).to.equal(usage);
    });

    it('give their changes as a layer, and take them back', async () => {
      const top = await commitStack([
        { path: 'gone' },
        { path: 'dir/below' },
        { path: 'kept', content: 'old' },
      ]);
      await inOverlay(await store.snapshots.prepare('c', top), async (directory) => {
        await rm(path.join(directory, 'gone'));
        await rm(path.join(directory, 'dir'), { recursive: true });
        await mkdir(path.join(directory, 'dir'));
        await writeFile(path.join(directory, 'dir/new'), 'new');
        await writeFile(path.join(directory, 'kept'), 'changed');
        await symlink('kept', path.join(directory, 'link'));
      });
      const diff = await diffOf('c', 'gzip');
      const names = ['./', '.wh.gone', 'kept', 'link', 'dir/', 'dir/.wh..wh..opq', 'dir/new'];
      expect(readTar(gunzipSync(diff)).map((entry) => entry.path)).to.deep.equal(names);

      const restored = await store.snapshots.prepare('d', top);
      await store.snapshots.applyDiff('d', inPieces(diff));
      await inOverlay(restored, async (directory) => {
        expect((await readdir(directory)).sort()).to.deep.equal(['dir', 'kept', 'link']);
        expect(await readdir(path.join(directory, 'dir'))).to.deep.equal(['new']);
        expect(await readFile(path.join(directory, 'link'), 'utf8')).to.equal('changed');
      });
      expect((await diffOf('d', 'none')).equals(gunzipSync(diff))).to.equal(true);
    });

    it('refuse changes that leave them, and those of nobody', async () => {
      await store.snapshots.prepare('c', await commitStack([{ path: 'a' }]));
      expect(await codeOf(store.snapshots.applyDiff('c', inPieces(tar({ path: '../evil' }))))).to.equal(
        'InvalidArgument',
      );
      expect(
        await codeOf(store.snapshots.applyDiff('c', inPieces(zstdFrame(tar()).subarray(0, 20)))),
      ).to.equal('DataLoss');
      expect(await codeOf(store.snapshots.applyDiff('nobody', inPieces(tar())))).to.equal('NotFound');
    });
  });

  describe('volumes', () => {
    let host: string;
    beforeEach(async () => {
      host = path.join(root, 'volume');
      await mkdir(host);
    });

    it('are filled with what the image has', async () => {
      const capability = Buffer.from('0100000280000000000000000000000000000000', 'hex');
      const top = await commitStack(
        [
          { path: 'data/', mode: 0o2750, uid: 70, gid: 70 },
          { path: 'data/gone' },
          { path: 'data/a', content: 'a', uid: 70, mtime: 99 },
        ],
        [
          { path: 'data/.wh.gone' },
          { path: 'data/b', mode: 0o4755, pax: { 'SCHILY.xattr.security.capability': capability } },
          { path: 'data/hard', type: '1', link: 'data/b' },
          { path: 'data/l', type: '2', link: '/etc/shadow' },
          { path: 'data/.wh..wh.x' },
          { path: 'linked', type: '2', link: '../../data' },
        ],
      );
      await store.snapshots.copyOut(top, '/linked', host);
      expect((await readdir(host)).sort()).to.deep.equal(['a', 'b', 'hard', 'l']);
      const [own, a, b] = await Promise.all([
        lstat(host),
        lstat(path.join(host, 'a')),
        lstat(path.join(host, 'b')),
      ]);
      expect([own.mode & 0o7777, own.uid, own.gid]).to.deep.equal([0o2750, 70, 70]);
      expect([a.uid, a.mtimeMs, b.mode & 0o7777, b.nlink]).to.deep.equal([70, 99_000, 0o4755, 2]);
    });

    it('are left as they are by a hostile path (CVE-2022-23648)', async () => {
      const top = await commitStack([
        { path: 'up', type: '2', link: '../../../..' },
        { path: 'file' },
        { path: 'd/' },
      ]);
      for (const volume of ['/../../../etc', '/up/etc', '/file', '/nothing', '/etc']) {
        await store.snapshots.copyOut(top, volume, host);
        expect(await readdir(host), volume).to.deep.equal([]);
      }
    });

    it('are filled from a single layer without its whiteouts', async () => {
      const top = await commitStack([{ path: 'd/.wh.x' }, { path: 'd/f' }]);
      await store.snapshots.copyOut(top, 'd', host);
      expect(await readdir(host)).to.deep.equal(['f']);
    });
  });
});
