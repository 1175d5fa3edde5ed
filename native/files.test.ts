import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, linkSync, lstatSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { readlinkSync, statfsSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  SystemError,
  diskUsage,
  fileBatch,
  mount,
  readFiles,
  removeTree,
  spreadSubdirectories,
  statFilesystem,
  syncFilesystem,
  umount,
} from './index.js';
import type { FileOperation } from './index.js';
import { makeScratch, openDescriptors, removeScratch } from './scratch.js';

const MS_BIND = 4096;
const MNT_DETACH = 2;

async function failureOf(work: Promise<unknown>): Promise<SystemError & { index?: number }> {
  try {
    await work;
  } catch (error) {
    if (error instanceof SystemError) return error;
    throw error;
  }
  throw new Error('did not fail');
}

describe('file batches', () => {
  let scratch: string;
  const at = (...names: string[]): string => path.join(scratch, ...names);
  beforeEach(async () => {
    scratch = await makeScratch();
  });
  afterEach(() => removeScratch(scratch));

  describe('readFiles', () => {
    it('reads many files, each with its own result', async () => {
      writeFileSync(at('latin1'), Buffer.from([0x61, 0xff, 0x00, 0x62]));
      writeFileSync(at('big'), Buffer.alloc((1 << 20) + 1));
      const longest = Array.from({ length: 1 << 17 }, (_, number) => String(number).padStart(8)).join('');
      writeFileSync(at('fits'), longest);
      const results = await readFiles([
        at('latin1'),
        at('missing'),
        at('big'),
        scratch,
        at('fits'),
        '/proc/self/comm',
      ]);
      expect(results[0]).to.equal('a\xff\0b');
      expect(results[1])
        .to.be.instanceOf(SystemError)
        .and.include({ code: 'ENOENT', path: at('missing') });
      expect(results[2]).to.include({ syscall: 'read', code: 'EFBIG', path: at('big') });
      expect(results[3]).to.include({ syscall: 'read', code: 'EISDIR' });
      expect(results[4] === longest).to.equal(true);
      expect(results[5]).to.be.a('string').and.not.equal('');
      expect(await readFiles([])).to.deep.equal([]);
    });

    it('does not wait for a fifo, nor leak', async () => {
      execFileSync('mkfifo', [at('fifo')]);
      const before = openDescriptors();
      expect(await readFiles(Array.from({ length: 100 }, () => at('fifo')))).to.deep.equal(
        Array.from({ length: 100 }, () => ''),
      );
      expect(openDescriptors()).to.equal(before);
    });
  });

  describe('fileBatch', () => {
    it('carries out every operation', async () => {
      writeFileSync(at('kernel-like'), 'abcdef');
      writeFileSync(at('old'), '');
      await fileBatch([
        { op: 'mkdir', path: at('d'), mode: 0o1777 },
        { op: 'mkdir', path: at('d'), mode: 0o700, existOk: true },
        { op: 'write', path: at('kernel-like'), data: 'ABC' },
        { op: 'replace', path: at('d/text'), data: 'ä', mode: 0o666 },
        { op: 'replace', path: at('d/bytes'), data: Uint8Array.from([1, 0, 2]), mode: 0o600 },
        { op: 'rename', path: at('d/bytes'), to: at('d/renamed') },
        { op: 'symlink', path: at('d/link'), target: '../anywhere' },
        { op: 'unlink', path: at('old') },
        { op: 'unlink', path: at('old'), missingOk: true },
        { op: 'mkdir', path: at('e'), mode: 0o755 },
        { op: 'rmdir', path: at('e') },
        { op: 'rmdir', path: at('e'), missingOk: true },
      ]);
      expect(readdirSync(scratch).sort()).to.deep.equal(['d', 'kernel-like']);
      expect(readdirSync(at('d')).sort()).to.deep.equal(['link', 'renamed', 'text']);
      expect(lstatSync(at('d')).mode & 0o7777).to.equal(0o1777);
      expect(lstatSync(at('d/text')).mode & 0o7777).to.equal(0o666);
      expect(readFileSync(at('d/text'), 'utf8')).to.equal('ä');
      expect(readFileSync(at('d/renamed'))).to.deep.equal(Buffer.from([1, 0, 2]));
      expect(readFileSync(at('kernel-like'), 'utf8')).to.equal('ABCdef');
      expect(readlinkSync(at('d/link'))).to.equal('../anywhere');
    });

    it('stops at the first failure and says which', async () => {
      const make = (name: string): FileOperation => ({ op: 'mkdir', path: at(name), mode: 0o755 });
      const error = await failureOf(fileBatch([make('a'), make('b/c'), make('d')]));
      expect(error).to.include({ index: 1, syscall: 'mkdir', code: 'ENOENT', path: at('b/c') });
      expect(readdirSync(scratch)).to.deep.equal(['a']);
    });

    it('leaves no temporary file behind, and the old content, when it cannot replace', async () => {
      mkdirSync(at('taken'));
      const error = await failureOf(
        fileBatch([{ op: 'replace', path: at('taken'), data: 'x', mode: 0o644 }]),
      );
      expect(error).to.include({ syscall: 'rename', code: 'EISDIR', index: 0 });
      expect(readdirSync(scratch)).to.deep.equal(['taken']);
    });

    it('refuses what would not be what was asked for', async () => {
      const code = async (operation: FileOperation): Promise<string> =>
        (await failureOf(fileBatch([operation]))).code;
      writeFileSync(at('file'), '');
      execFileSync('mkfifo', [at('fifo')]);
      expect(await code({ op: 'mkdir', path: at('file'), mode: 0o755, existOk: true })).to.equal('EEXIST');
      expect(await code({ op: 'write', path: at('missing'), data: 'x' })).to.equal('ENOENT');
      expect(await code({ op: 'write', path: at('fifo'), data: 'x' })).to.equal('ENXIO');
      expect(await code({ op: 'unlink', path: at('missing') })).to.equal('ENOENT');
      const nul = { op: 'rename', path: at('file'), to: at('a\0b') } as const;
      expect(() => fileBatch([nul])).to.throw(SystemError, /EINVAL/);
    });
  });

  describe('removeTree', () => {
    it('removes a tree with whatever permissions, and only that', async () => {
      mkdirSync(at('tree/a/b'), { recursive: true });
      mkdirSync(at('outside'));
      writeFileSync(at('outside/precious'), '');
      writeFileSync(at('tree/a/b/file'), '');
      linkSync(at('outside/precious'), at('tree/hard'));
      symlinkSync(at('outside'), at('tree/link'));
      symlinkSync(at('outside'), at('tree/a/link'));
      execFileSync('mkfifo', [at('tree/fifo')]);
      chmodSync(at('tree/a/b'), 0o000);
      chmodSync(at('tree/a'), 0o000);
      await removeTree(at('tree'));
      expect(readdirSync(scratch)).to.deep.equal(['outside']);
      expect(readdirSync(at('outside'))).to.deep.equal(['precious']);
    });

    it('takes a file, a symlink and nothing at all', async () => {
      mkdirSync(at('kept'));
      writeFileSync(at('file'), '');
      symlinkSync('kept', at('link'));
      await removeTree(at('file'));
      await removeTree(at('link'));
      await removeTree(at('missing'));
      await removeTree(at('missing/below'));
      expect(readdirSync(scratch)).to.deep.equal(['kept']);
      expect(await failureOf(removeTree('/'))).to.include({ code: 'EBUSY', path: '/' });
    });

    it('never enters a mount, nor removes it, and removes the rest', async function () {
      if (process.getuid?.() !== 0) return this.skip(); // needs root
      mkdirSync(at('data'));
      writeFileSync(at('data/precious'), 'x');
      mkdirSync(at('tree/a/mounted'), { recursive: true });
      writeFileSync(at('tree/a/mounted-file'), '');
      writeFileSync(at('tree/file'), '');
      mount(at('data'), at('tree/a/mounted'), '', MS_BIND);
      mount(at('data/precious'), at('tree/a/mounted-file'), '', MS_BIND);
      try {
        const error = await failureOf(removeTree(at('tree')));
        // Whether a file system asks for the mount first or for what lies on it differs: a tmpfs is busy.
        expect(error.code).to.be.oneOf(['EXDEV', 'EBUSY']);
        expect(error.path).to.match(/\/tree\/a\/mounted/);
        for (const name of ['tree/a/mounted', 'tree/a/mounted-file'])
          expect((await failureOf(removeTree(at(name)))).code).to.be.oneOf(['EXDEV', 'EBUSY']);
        expect(readFileSync(at('data/precious'), 'utf8')).to.equal('x');
        expect(readFileSync(at('tree/a/mounted/precious'), 'utf8')).to.equal('x');
        expect(existsSync(at('tree/file'))).to.equal(false);
      } finally {
        umount(at('tree/a/mounted'), MNT_DETACH);
        umount(at('tree/a/mounted-file'), MNT_DETACH);
      }
      await removeTree(at('tree'));
      expect(readFileSync(at('data/precious'), 'utf8')).to.equal('x');
    });

    it('names what cannot be removed', async function () {
      mkdirSync(at('tree/a'), { recursive: true });
      writeFileSync(at('tree/a/immutable'), '');
      writeFileSync(at('tree/a/other'), '');
      try {
        execFileSync('chattr', ['+i', at('tree/a/immutable')], { stdio: 'ignore' });
      } catch {
        return this.skip(); // needs root and a file system with immutable files
      }
      try {
        expect(await failureOf(removeTree(at('tree')))).to.include({
          syscall: 'unlinkat',
          code: 'EPERM',
          path: at('tree/a/immutable'),
        });
        expect(readdirSync(at('tree/a'))).to.deep.equal(['immutable']);
      } finally {
        execFileSync('chattr', ['-i', at('tree/a/immutable')]);
      }
    });

    it('goes as deep as the tree, with few descriptors and no recursion', async function () {
      this.timeout(30_000);
      const script =
        'import os\nfor i in range(400):\n os.mkdir("d" * 200); os.chdir("d" * 200); os.mkdir("side")';
      mkdirSync(at('deep'));
      execFileSync('python3', ['-c', script], { cwd: at('deep') });
      const usage = await diskUsage(at('deep'));
      expect(usage.inodes).to.equal(801n);
      await Promise.all([removeTree(at('deep')), removeTree(at('deep'))]);
      expect(readdirSync(scratch)).to.deep.equal([]);
    });

    it('removes many files while others are at work', async function () {
      this.timeout(30_000);
      for (let i = 0; i < 20; i++) {
        mkdirSync(at('wide', String(i)), { recursive: true });
        for (let j = 0; j < 200; j++) writeFileSync(at('wide', String(i), `file-${j}`), '');
      }
      const before = openDescriptors();
      await Promise.all([removeTree(at('wide')), removeTree(at('wide')), removeTree(at('wide'))]);
      expect(readdirSync(scratch)).to.deep.equal([]);
      expect(openDescriptors()).to.equal(before);
    });
  });

  describe('diskUsage', () => {
    it('counts blocks, and each inode once', async () => {
      mkdirSync(at('tree/a'), { recursive: true });
      writeFileSync(at('tree/a/data'), Buffer.alloc(100_000));
      linkSync(at('tree/a/data'), at('tree/again'));
      writeFileSync(at('tree/sparse'), '');
      truncateSync(at('tree/sparse'), 1 << 30);
      symlinkSync('/usr', at('tree/link'));
      const measured = await diskUsage(at('tree'));
      const blocks = execFileSync('du', ['-s', '--block-size=512', at('tree')], { encoding: 'latin1' });
      expect(measured).to.deep.equal({ bytes: BigInt(parseInt(blocks)) * 512n, inodes: 5n });
    });

    it('does not cross mounts', async function () {
      if (process.getuid?.() !== 0) return this.skip(); // needs root
      mkdirSync(at('tree/mounted'), { recursive: true });
      mount('none', at('tree/mounted'), 'tmpfs', 0);
      try {
        writeFileSync(at('tree/mounted/file'), Buffer.alloc(100_000));
        expect((await diskUsage(at('tree'))).inodes).to.equal(1n);
      } finally {
        umount(at('tree/mounted'), MNT_DETACH);
      }
    });

    it('measures a file, fails on nothing, and can be given up', async () => {
      writeFileSync(at('file'), 'x');
      const before = openDescriptors();
      expect((await diskUsage(at('file'))).inodes).to.equal(1n);
      expect(await failureOf(diskUsage(at('missing')))).to.include({ code: 'ENOENT', path: at('missing') });
      const given = await diskUsage('/usr', AbortSignal.abort()).catch((error: unknown) => error);
      expect(given).to.include({ name: 'AbortError' });
      expect(openDescriptors()).to.equal(before);
    });
  });

  describe('spreadSubdirectories', () => {
    const EXT4 = 0xef53;
    it('marks a directory of ext4', function () {
      if (statFilesystem(scratch).type !== EXT4) return this.skip(); // needs a temporary directory on ext4
      spreadSubdirectories(scratch);
      expect(execFileSync('lsattr', ['-d', scratch], { encoding: 'utf8' }).split(' ')[0]).to.contain('T');
    });

    it('leaves alone what knows no such mark, and names what is not there', () => {
      spreadSubdirectories('/proc/self');
      expect(() => spreadSubdirectories(at('nothing'))).to.throw(SystemError, /ENOENT/);
    });
  });

  describe('file systems', () => {
    it('are described as statfs says', () => {
      const found = statFilesystem(scratch);
      const expected = statfsSync(scratch, { bigint: true });
      expect(BigInt(found.type)).to.equal(expected.type);
      expect(BigInt(found.blockSize)).to.equal(expected.bsize);
      expect(found.blocks).to.equal(expected.blocks);
      expect(found.files).to.equal(expected.files);
      expect(() => statFilesystem('/nowhere')).to.throw(/^statfs \/nowhere: ENOENT$/);
    });

    it('are written out by the path of any file', async () => {
      await syncFilesystem(scratch);
      expect(await failureOf(syncFilesystem('/nowhere'))).to.include({ syscall: 'open', code: 'ENOENT' });
    });
  });
});
