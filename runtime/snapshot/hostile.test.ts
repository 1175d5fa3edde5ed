import { expect } from 'chai';
import { lstat, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { diffIdOf, rawPax, tar, tarEntry, zstdFrame, type TarItem } from './tar.fixture.js';
import { extract, isRoot, makePlace, refusalOf, type Place } from './unpack.fixture.js';

describe('podwright-unpack extract, of hostile archives', function () {
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

  const hostile: Record<string, { items: readonly TarItem[]; entry: string }> = {
    'climbs out': { items: [{ path: '../canary', content: 'evil' }], entry: '../canary' },
    'climbs out from below': {
      items: [{ path: 'a/../../canary', content: 'evil' }],
      entry: 'a/../../canary',
    },
    'is a directory outside': { items: [{ path: '../canary/', mode: 0o777 }], entry: '../canary/' },
    'goes through an absolute link': {
      items: [
        { path: 'l', type: '2', link: '/canary-dir' },
        { path: 'l/passwd', content: 'evil' },
      ],
      entry: 'l/passwd',
    },
    'goes through a climbing link': {
      items: [
        { path: 'd/l', type: '2', link: '../../..' },
        { path: 'd/l/canary', content: 'evil' },
      ],
      entry: 'd/l/canary',
    },
    'goes through two links': {
      items: [
        { path: 'a', type: '2', link: 'b' },
        { path: 'b', type: '2', link: '..' },
        { path: 'a/canary', content: 'evil' },
      ],
      entry: 'a/canary',
    },
    'goes through a loop': {
      items: [
        { path: 'a', type: '2', link: 'b' },
        { path: 'b', type: '2', link: 'a' },
        { path: 'a/x', content: 'evil' },
      ],
      entry: 'a/x',
    },
    'goes through a file': { items: [{ path: 'f' }, { path: 'f/x' }], entry: 'f/x' },
    'links hard to what is outside': { items: [{ path: 'h', type: '1', link: '../canary' }], entry: 'h' },
    'links hard to what is not there': {
      items: [{ path: 'h', type: '1', link: '/etc/shadow' }],
      entry: 'h',
    },
    'links hard through a link': {
      items: [
        { path: 'l', type: '2', link: '../' },
        { path: 'h', type: '1', link: 'l/canary' },
      ],
      entry: 'h',
    },
    'links hard to the root': { items: [{ path: 'h', type: '1', link: '/' }], entry: 'h' },
    'whites out what is outside': { items: [{ path: '../.wh.canary' }], entry: '../.wh.canary' },
    'makes the outside opaque': { items: [{ path: '../.wh..wh..opq' }], entry: '../.wh..wh..opq' },
    'replaces the root': { items: [{ path: '/', type: '2', link: '/etc' }], entry: '/' },
    'has a name too long for a directory': {
      items: [{ path: 'x', pax: { path: 'n'.repeat(300) } }],
      entry: 'n'.repeat(300),
    },
    'sets an attribute that nobody may': {
      items: [{ path: 'f', pax: { 'SCHILY.xattr.nonsense.x': 'y'.repeat(70_000) } }],
      entry: 'f',
    },
  };
  for (const [name, { items, entry }] of Object.entries(hostile)) {
    it(`changes nothing outside and names the entry that ${name}`, async () => {
      await writeFile(path.join(place.directory, 'canary'), 'untouched', { mode: 0o600 });
      const error = await refusalOf(place.root, tar(...items));
      expect(error.code).to.equal('InvalidArgument');
      expect(error.subject).to.equal(JSON.stringify(entry));
      expect(await readFile(path.join(place.directory, 'canary'), 'utf8')).to.equal('untouched');
      expect((await lstat(path.join(place.directory, 'canary'))).nlink).to.equal(1);
      expect((await readdir(place.directory)).sort()).to.deep.equal(['canary', 'root']);
    });
  }

  it('puts absolute names and links below the root', async () => {
    await extract(
      place.root,
      tar(
        { path: '/run/', mode: 0o755 },
        { path: '/var/run', type: '2', link: '/run' },
        { path: '/var/run/pid', content: '1' },
        { path: '/./etc//../etc/x', content: 'x' },
      ),
    );
    expect(await readFile(at('run/pid'), 'utf8')).to.equal('1');
    expect(await readFile(at('etc/x'), 'utf8')).to.equal('x');
  });

  it('does not change what a link points at (CVE-2021-32760)', async () => {
    await writeFile(path.join(place.directory, 'canary'), 'untouched', { mode: 0o600 });
    await extract(
      place.root,
      tar(
        { path: 'l', type: '2', link: '../canary' },
        {
          path: 'l',
          type: '2',
          link: path.join(place.directory, 'canary'),
          mode: 0o777,
          uid: 1,
          pax: { mtime: '1' },
        },
      ),
    );
    const canary = await lstat(path.join(place.directory, 'canary'));
    expect([canary.mode & 0o777, canary.uid]).to.deep.equal([0o600, 0]);
  });

  /* Whoever opened one of these fifos would wait for ever: libraries, converters and programs of the layer. */
  it('loads nothing of the layer (CVE-2019-14271)', async () => {
    const libs = ['lib', 'lib64', 'usr/lib', 'lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu'];
    const traps = [
      ...libs.flatMap((lib) =>
        [
          'gconv/gconv-modules',
          'gconv/gconv-modules.cache',
          'gconv/UTF-16.so',
          'libnss_files.so.2',
          'libgcc_s.so.1',
          'locale/C.utf8/LC_CTYPE',
        ].map((name) => `${lib}/${name}`),
      ),
      ...['unzstd', 'zstd', 'gzip', 'xz'].flatMap((name) => [`bin/${name}`, `usr/bin/${name}`]),
      ...[
        'passwd',
        'group',
        'nsswitch.conf',
        'ld.so.cache',
        'ld.so.preload',
        'localtime',
        'ssl/openssl.cnf',
        'locale.alias',
      ].map((name) => `etc/${name}`),
      'usr/lib/ssl/openssl.cnf',
      'usr/share/locale/locale.alias',
      'dev/null',
      'dev/urandom',
      'proc/self/maps',
      'proc/self/status',
    ];
    const content = tar(...traps.map((name): TarItem => ({ path: name, type: '6' })), {
      path: 'x',
      pax: { path: 'e\u0301', uname: 'root', hdrcharset: 'ISO-IR 10646 2000 UTF-8' },
    });
    for (const stream of [zstdFrame(content), gzipSync(content)]) {
      expect((await extract(place.root, stream)).diffId).to.equal(diffIdOf(content));
    }
  });

  const damaged: Record<string, Buffer> = {
    'a PAX header of two megabytes': rawPax(Buffer.alloc(2 * 1024 * 1024, 'a')),
    'a long name of two megabytes': tarEntry({
      path: 'x',
      type: 'L',
      content: Buffer.alloc(2 * 1024 * 1024, 'a'),
    }),
    'a PAX record longer than its header': Buffer.concat([
      rawPax(Buffer.from('99 path=x\n')),
      tarEntry({ path: 'x' }),
    ]),
    'a PAX record without a key': Buffer.concat([rawPax(Buffer.from('6 =x\n\n')), tarEntry({ path: 'x' })]),
    'a path with NUL': tar({ path: 'x', pax: { path: Buffer.from('a\0b') } }),
    'an owner beyond 32 bits': tar({ path: 'x', pax: { uid: '4294967296' } }),
    'an owner of -1': tar({ path: 'x', pax: { uid: '4294967295' } }),
    'a negative size': tar({ path: 'x', patch: { 124: Buffer.alloc(12, 0xff) } }),
    'a size of exabytes': tar({ path: 'x', pax: { size: '9223372036854775807' } }),
    'an unknown type': tar({ path: 'x', type: 'Z' }),
    'a wrong checksum': Buffer.concat([Buffer.from('y'), tar({ path: 'x' }).subarray(1)]),
    'an overlapping sparse map': tar({
      path: 'x',
      content: Buffer.alloc(1024),
      pax: { 'GNU.sparse.size': '4096', 'GNU.sparse.map': '0,512,100,512' },
    }),
    'a sparse map beyond the file': tar({
      path: 'x',
      content: Buffer.alloc(512),
      pax: { 'GNU.sparse.size': '100', 'GNU.sparse.map': '0,512' },
    }),
    'a sparse map of other data': tar({
      path: 'x',
      content: Buffer.alloc(512),
      pax: { 'GNU.sparse.size': '4096', 'GNU.sparse.map': '0,100' },
    }),
    'a path of 5000 bytes': tar({ path: 'x', pax: { path: 'p/'.repeat(2500) } }),
  };
  for (const [name, content] of Object.entries(damaged)) {
    it(`refuses ${name}`, async () => {
      const error = await refusalOf(place.root, content);
      expect(error.code, error.message).to.equal('DataLoss');
    });
  }
});
