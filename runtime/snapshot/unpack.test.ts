import { expect } from 'chai';
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import {
  diffIdOf,
  paxRecord,
  rawPax,
  readTar,
  tar,
  tarEntry,
  zstdFrame,
  zstdSkippable,
  type TarItem,
} from './tar.fixture.js';
import { extract, isRoot, makePlace, pack, refusalOf, type Place } from './unpack.fixture.js';

const CAP_SETUID = Buffer.from('0100000280000000000000000000000000000000', 'hex');

describe('podwright-unpack extract', function () {
  let place: Place;
  const at = (...names: string[]): string => path.join(place.root, ...names);

  before(function () {
    if (!isRoot) {
      console.log('      needs root');
      this.skip();
    }
  });
  beforeEach(async () => {
    place = await makePlace();
  });
  afterEach(() => place.remove());

  const refused = (content: Buffer, options?: readonly string[]) => refusalOf(place.root, content, options);

  describe('streams', () => {
    const content = tar({ path: 'a', content: 'x'.repeat(300_000) }, { path: 'b', content: 'y' });
    const forms: Record<string, Buffer> = {
      plain: content,
      gzip: gzipSync(content),
      'gzip of many members, as eStargz': Buffer.concat(
        Array.from({ length: Math.ceil(content.length / 1000) }, (_, i) =>
          gzipSync(content.subarray(i * 1000, i * 1000 + 1000)),
        ),
      ),
      'gzip with padding': Buffer.concat([gzipSync(content), Buffer.alloc(1000)]),
      'gzip with an empty member last': Buffer.concat([gzipSync(content), gzipSync(Buffer.alloc(0))]),
      zstd: zstdFrame(content),
      'zstd of several frames': Buffer.concat([
        zstdFrame(content.subarray(0, 5000)),
        zstdFrame(content.subarray(5000)),
      ]),
      'zstd with skippable frames': Buffer.concat([
        zstdSkippable(Buffer.alloc(300_000)),
        zstdFrame(content),
        zstdSkippable(Buffer.from('toc')),
      ]),
    };
    for (const [name, stream] of Object.entries(forms)) {
      it(`reads ${name}`, async () => {
        const result = await extract(place.root, stream);
        expect(result.diffId).to.equal(diffIdOf(content));
        expect(result.bytes).to.equal(content.length);
        expect(await readFile(at('a'), 'utf8')).to.equal('x'.repeat(300_000));
        expect(await readFile(at('b'), 'utf8')).to.equal('y');
      });
    }

    it('counts what follows the archive towards the diffId', async () => {
      const trailing = Buffer.concat([content, Buffer.alloc(700_000), Buffer.from('anything')]);
      expect((await extract(place.root, gzipSync(trailing))).diffId).to.equal(diffIdOf(trailing));
    });

    it('takes an empty stream and an empty archive', async () => {
      expect((await extract(place.root, Buffer.alloc(0))).diffId).to.equal(diffIdOf(Buffer.alloc(0)));
      expect((await extract(place.root, gzipSync(Buffer.alloc(1024)))).entries).to.equal(0);
    });

    const gzip = gzipSync(content);
    const wrongChecksum = Buffer.from(gzip);
    wrongChecksum.writeUInt32LE(0x12345678, gzip.length - 8);
    const broken: Record<string, Buffer> = {
      'a gzip stream that ends early': gzip.subarray(0, gzip.length - 20),
      'a gzip trailer that ends early': gzip.subarray(0, gzip.length - 3),
      'a gzip checksum that does not match': wrongChecksum,
      'garbage after gzip': Buffer.concat([gzip, Buffer.from('garbage')]),
      'a zstd stream that ends early': zstdFrame(content).subarray(0, 5000),
      'garbage after zstd': Buffer.concat([zstdFrame(content), Buffer.from('garbage that is long enough')]),
      'no archive at all': Buffer.from('garbage'.repeat(1000)),
      'an archive that ends inside a file': content.subarray(0, 1000),
      'an archive that ends inside a header': content.subarray(0, 300),
    };
    for (const [name, stream] of Object.entries(broken)) {
      it(`refuses ${name}`, async () => {
        expect((await refused(stream)).code).to.equal('DataLoss');
      });
    }

    it('stops at its limits', async () => {
      const bomb = await refused(gzipSync(tar({ path: 'zeros', content: Buffer.alloc(5_000_000) })), [
        '--max-bytes=1000000',
      ]);
      expect(bomb.code).to.equal('ResourceExhausted');
      const many = Array.from({ length: 50 }, (_, i): TarItem => ({ path: `d${i}/e/f` }));
      expect((await refused(tar(...many), ['--max-entries=100'])).code).to.equal('ResourceExhausted');
    });
  });

  describe('files', () => {
    it('keeps modes, owners, times and kinds', async () => {
      await extract(
        place.root,
        tar(
          { path: 'suid', mode: 0o4755, uid: 1000, gid: 2000, content: 'x' },
          { path: 'big', pax: { uid: '4294967294', gid: '3000000', mtime: '1700000000.123456789' } },
          { path: 'old', pax: { mtime: '-1.5' } },
          { path: 'binary-owner', patch: { 108: Buffer.from('80000000ee6b2800', 'hex') } },
          { path: 'link', type: '2', link: '/nowhere', uid: 5 },
          { path: 'fifo', type: '6', mode: 0o600 },
          { path: 'null', type: '3', major: 1, minor: 3, mode: 0o666 },
          { path: 'disk', type: '4', major: 259, minor: 65536 },
          { path: 'dir/', mode: 0o1777, mtime: 12345 },
          { path: 'dir/later' },
        ),
      );
      const suid = await lstat(at('suid'));
      expect([suid.mode & 0o7777, suid.uid, suid.gid]).to.deep.equal([0o4755, 1000, 2000]);
      const big = await lstat(at('big'), { bigint: true });
      expect([big.uid, big.gid, big.mtimeNs]).to.deep.equal([
        4294967294n,
        3000000n,
        1_700_000_000_123_456_789n,
      ]);
      expect((await lstat(at('old'), { bigint: true })).mtimeNs).to.equal(-1_500_000_000n);
      expect((await lstat(at('binary-owner'))).uid).to.equal(4_000_000_000);
      expect([await readlink(at('link')), (await lstat(at('link'))).uid]).to.deep.equal(['/nowhere', 5]);
      expect((await lstat(at('fifo'))).isFIFO()).to.equal(true);
      expect((await lstat(at('null'))).rdev).to.equal(0x103);
      expect((await lstat(at('disk'))).isBlockDevice()).to.equal(true);
      const dir = await lstat(at('dir'));
      expect([dir.mode & 0o7777, dir.mtimeMs]).to.deep.equal([0o1777, 12_345_000]);
    });

    it('keeps extended attributes byte for byte', async () => {
      const acl = Buffer.from(
        '0200000001000700ffffffff02000700e803000004000500ffffffff10000700ffffffff20000500ffffffff',
        'hex',
      );
      await extract(
        place.root,
        tar(
          { path: 'newuidmap', mode: 0o755, pax: { 'SCHILY.xattr.security.capability': CAP_SETUID } },
          {
            path: 'd/',
            pax: {
              'SCHILY.xattr.system.posix_acl_default': acl,
              'SCHILY.xattr.user.note': Buffer.from([0, 255, 10]),
            },
          },
          { path: 'd/f', mode: 0o640 },
          { path: 'link', type: '2', link: 'x', pax: { 'SCHILY.xattr.trusted.note': 'y' } },
        ),
      );
      const entries = new Map(readTar(await pack(place.root)).map((entry) => [entry.path, entry]));
      expect(entries.get('newuidmap')?.pax['SCHILY.xattr.security.capability']).to.deep.equal(CAP_SETUID);
      expect(entries.get('d/')?.pax['SCHILY.xattr.system.posix_acl_default']).to.deep.equal(acl);
      expect(entries.get('d/')?.pax['SCHILY.xattr.user.note']).to.deep.equal(Buffer.from([0, 255, 10]));
      expect(entries.get('d/f')?.pax).to.not.have.property('SCHILY.xattr.system.posix_acl_access');
      expect(entries.get('d/f')?.mode).to.equal(0o640);
      expect(entries.get('link')?.pax['SCHILY.xattr.trusted.note']?.toString()).to.equal('y');
    });

    it("never takes overlayfs' own attributes from an image", async () => {
      const pax = {
        'SCHILY.xattr.trusted.overlay.redirect': '/etc',
        'SCHILY.xattr.trusted.overlay.opaque': 'y',
      };
      expect((await extract(place.root, tar({ path: 'd/', pax }))).ignoredXattrs).to.equal(2);
      expect(readTar(await pack(place.root)).map((entry) => entry.path)).to.deep.equal(['./', 'd/']);
    });

    it('keeps names as bytes: decomposed, not UTF-8, long', async () => {
      const names = [Buffer.from('e\u0301'), Buffer.from([0x66, 0xff, 0xfe]), Buffer.from('n'.repeat(250))];
      const long = Buffer.from(`${'d'.repeat(90)}/${'e'.repeat(90)}/${'f'.repeat(90)}`);
      const items = names.map((name): TarItem => ({ path: 'x', pax: { path: name } }));
      await extract(
        place.root,
        tar(...items, { path: 'x', pax: { path: long } }, { path: Buffer.from([0x67, 0xff]) }),
      );
      const found = await readdir(place.root, { encoding: 'buffer' });
      for (const name of [...names, Buffer.from([0x67, 0xff])])
        expect(found.some((each) => each.equals(name))).to.equal(true);
      expect((await lstat(path.join(place.root, long.toString()))).isFile()).to.equal(true);
    });

    it('reads GNU long names and the ustar prefix', async () => {
      const long = 'l'.repeat(200);
      await extract(
        place.root,
        Buffer.concat([
          tarEntry({ path: '././@LongLink', type: 'K', content: `${'t'.repeat(300)}\0` }),
          tarEntry({ path: '././@LongLink', type: 'L', content: `${long}\0` }),
          tarEntry({ path: 'short', type: '2', link: 'short' }),
          tarEntry({ path: 'name', patch: { 345: Buffer.from('pre/fix') } }),
          Buffer.alloc(1024),
        ]),
      );
      expect(await readlink(at(long))).to.equal('t'.repeat(300));
      expect((await lstat(at('pre/fix/name'))).isFile()).to.equal(true);
    });

    it('makes sparse files of all four forms', async () => {
      const data = Buffer.concat([Buffer.alloc(512, 'a'), Buffer.alloc(512, 'b')]);
      const number = (value: number): Buffer => Buffer.from(`${value.toString(8).padStart(11, '0')} `);
      const gnu = {
        257: Buffer.from('ustar  \0'),
        386: Buffer.concat([
          number(0),
          number(512),
          number(1048576),
          number(512),
          number(2097152),
          number(0),
        ]),
        483: number(2097152),
      };
      const map = Buffer.alloc(512);
      map.write('3\n0\n512\n1048576\n512\n2097152\n0\n');
      const sparse = (records: Record<string, string>): Record<string, string> =>
        Object.fromEntries(Object.entries(records).map(([key, value]) => [`GNU.sparse.${key}`, value]));
      const repeated = Buffer.concat([
        paxRecord('GNU.sparse.size', '2097152'),
        paxRecord('GNU.sparse.numblocks', '2'),
        ...[0, 512, 1048576, 512].map((value, i) =>
          paxRecord(`GNU.sparse.${i % 2 === 0 ? 'offset' : 'numbytes'}`, String(value)),
        ),
      ]);
      await extract(
        place.root,
        Buffer.concat([
          tarEntry({ path: 'old', type: 'S', content: data, patch: gnu }),
          rawPax(repeated),
          tarEntry({ path: 'form00', content: data }),
          tarEntry({
            path: 'x',
            content: data,
            pax: sparse({ name: 'form01', size: '2097152', map: '0,512,1048576,512' }),
          }),
          tarEntry({
            path: 'x',
            content: Buffer.concat([map, data]),
            pax: sparse({ major: '1', minor: '0', name: 'form10', realsize: '2097152' }),
          }),
          Buffer.alloc(1024),
        ]),
      );
      const expected = Buffer.alloc(2097152);
      expected.fill('a', 0, 512);
      expected.fill('b', 1048576, 1048576 + 512);
      for (const name of ['old', 'form00', 'form01', 'form10']) {
        expect((await readFile(at(name))).equals(expected), name).to.equal(true);
        expect((await lstat(at(name))).blocks, name).to.be.lessThan(100);
      }
    });

    it('lets later entries replace earlier ones', async () => {
      await extract(
        place.root,
        tar(
          { path: 'file-dir', content: 'x' },
          { path: 'file-dir/', mode: 0o700 },
          { path: 'file-dir/in', content: 'in' },
          { path: 'dir-file/deep/er/' },
          { path: 'dir-file/deep/er/f', content: 'x' },
          { path: 'dir-file', content: 'file' },
          { path: 'dir-dir/', mode: 0o700 },
          { path: 'dir-dir/kept', content: 'kept' },
          { path: 'dir-dir/', mode: 0o711 },
          { path: 'link-file', type: '2', link: 'dir-file' },
          { path: 'link-file', content: 'own' },
          { path: 'link-dir', type: '2', link: 'dir-dir' },
          { path: 'link-dir/', mode: 0o755 },
          { path: 'a', content: 'old' },
          { path: 'hard', type: '1', link: 'a' },
          { path: 'a', content: 'new' },
          { path: 'hard', type: '1', link: 'hard' },
        ),
      );
      expect(await readFile(at('file-dir/in'), 'utf8')).to.equal('in');
      expect(await readFile(at('dir-file'), 'utf8')).to.equal('file');
      expect(await readFile(at('dir-dir/kept'), 'utf8')).to.equal('kept');
      expect((await lstat(at('dir-dir'))).mode & 0o777).to.equal(0o711);
      expect(await readFile(at('link-file'), 'utf8')).to.equal('own');
      expect((await lstat(at('link-dir'))).isDirectory()).to.equal(true);
      expect([await readFile(at('a'), 'utf8'), await readFile(at('hard'), 'utf8')]).to.deep.equal([
        'new',
        'old',
      ]);
    });

    it('links hard, also to symbolic links, and keeps set-id bits and capabilities then', async () => {
      await extract(
        place.root,
        tar(
          {
            path: 'ping',
            mode: 0o4755,
            content: 'x',
            pax: { 'SCHILY.xattr.security.capability': CAP_SETUID },
          },
          { path: 'ping6', type: '1', link: '/ping', mode: 0o600, uid: 7 },
          { path: 'sym', type: '2', link: 'ping' },
          { path: 'sym2', type: '1', link: 'sym' },
        ),
      );
      const ping = await lstat(at('ping6'));
      expect([ping.nlink, ping.mode & 0o7777, ping.uid]).to.deep.equal([2, 0o4755, 0]);
      expect(await readlink(at('sym2'))).to.equal('ping');
    });

    it('replaces a tree deeper than any path', async () => {
      const deep = (first: string): TarItem => ({
        path: 'x',
        pax: { path: `${first}/${'d/'.repeat(1000)}` },
        type: '5',
      });
      await extract(
        place.root,
        tar(deep('top'), { path: 'l', type: '2', link: `top/${'d/'.repeat(45)}` }, deep('l'), {
          path: 'top',
          content: 'file',
        }),
      );
      expect(await readFile(at('top'), 'utf8')).to.equal('file');
    });

    it('ignores what a global header says, and hands a group down to nobody', async () => {
      const result = await extract(
        place.root,
        Buffer.concat([
          rawPax(paxRecord('comment', 'x'), 'g'),
          tar({ path: 's/', mode: 0o2755, gid: 50 }, { path: 's/i/f' }),
        ]),
      );
      const implied = await lstat(at('s/i'));
      expect([implied.gid, implied.mode & 0o7777]).to.deep.equal([0, 0o755]);
      expect(result.implied).to.deep.equal(['', 's/i']);
    });
  });

  describe('whiteouts', () => {
    const overlayOf = async (): Promise<readonly string[]> =>
      readTar(await pack(place.root)).map((entry) => entry.path);

    it('become 0:0 devices', async () => {
      await extract(place.root, tar({ path: 'd/' }, { path: 'd/.wh.gone' }, { path: '.wh.top' }));
      const gone = await lstat(at('d/gone'));
      expect([gone.isCharacterDevice(), gone.rdev]).to.deep.equal([true, 0]);
      expect(await overlayOf()).to.deep.equal(['./', '.wh.top', 'd/', 'd/.wh.gone']);
    });

    it('never hide what the layer has itself, whatever the order', async () => {
      await extract(
        place.root,
        tar(
          { path: '.wh.f' },
          { path: 'f', content: 'f' },
          { path: 'g', content: 'g' },
          { path: '.wh.g' },
          { path: '.wh.d' },
          { path: 'd/', mode: 0o711 },
          { path: 'e/' },
          { path: '.wh.e' },
          { path: '.wh.i' },
          { path: 'i/file' },
        ),
      );
      expect(await overlayOf()).to.deep.equal([
        './',
        'f',
        'g',
        'd/',
        'd/.wh..wh..opq',
        'e/',
        'e/.wh..wh..opq',
        'i/',
        'i/.wh..wh..opq',
        'i/file',
      ]);
      expect((await lstat(at('d'))).mode & 0o777).to.equal(0o711);
    });

    it('make a directory opaque wherever the marker stands', async () => {
      await extract(
        place.root,
        tar(
          { path: 'first/.wh..wh..opq' },
          { path: 'first/', mode: 0o700 },
          { path: 'last/x' },
          { path: 'last/.wh..wh..opq' },
          { path: '.wh..wh.plnk/' },
        ),
      );
      expect(await overlayOf()).to.deep.equal([
        './',
        'first/',
        'first/.wh..wh..opq',
        'last/',
        'last/.wh..wh..opq',
        'last/x',
      ]);
    });

    it('tell of an opaque root', async () => {
      expect((await extract(place.root, tar({ path: '.wh..wh..opq' }))).opaqueRoot).to.equal(true);
    });

    it('need a name', async () => {
      for (const name of ['.wh.', '.wh..', '.wh...', 'd/.wh.']) {
        expect((await refused(tar({ path: name }))).code, name).to.equal('DataLoss');
      }
    });

    it('are ordinary names outside of layers', async () => {
      await extract(place.root, tar({ path: '.wh.x', content: 'x' }, { path: '.wh..wh..opq' }), []);
      expect((await readdir(place.root)).sort()).to.deep.equal(['.wh..wh..opq', '.wh.x']);
    });
  });
});
