import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { expect } from 'chai';
import { pack, type Header } from 'tar-stream';
import { RuntimeError } from '../errors.js';
import { extractArchive } from './extract.js';

describe('an archive from elsewhere', () => {
  let scratch: string;
  const forever = new AbortController().signal;

  beforeEach(async () => {
    scratch = await mkdtemp(path.join(tmpdir(), 'pw-extract-'));
  });
  afterEach(async () => {
    await rm(scratch, { recursive: true, force: true });
  });

  const extract = async (
    entries: readonly (Partial<Header> & { readonly name: string })[],
  ): Promise<void> => {
    const archive = pack();
    for (const entry of entries) {
      if (entry.type === undefined) archive.entry({ ...entry }, 'content');
      else archive.entry({ ...entry });
    }
    archive.finalize();
    await writeFile(path.join(scratch, 'a.tar'), await buffer(archive));
    await extractArchive(path.join(scratch, 'a.tar'), path.join(scratch, 'out'), forever);
  };
  const needed = ['checkpoint/inventory.img', 'checkpoint/descriptors.json', 'rootfs-diff.tar'].map(
    (name) => ({ name }),
  );

  it('gives the parts that are known and nothing else', async () => {
    await extract([
      ...needed,
      { name: 'config.dump' },
      { name: '../outside' },
      { name: '/etc/cron.d/evil' },
      { name: 'container.log', type: 'symlink', linkname: '/etc/passwd' },
    ]);
    expect(await readdir(scratch)).to.have.members(['a.tar', 'out']);
    expect(await readdir(path.join(scratch, 'out'))).to.have.members(['checkpoint', 'rootfs-diff.tar']);
  });

  const hostile: readonly (readonly [string, Partial<Header> & { readonly name: string }])[] = [
    ['a name that climbs', { name: 'checkpoint/../../outside.img' }],
    ['a directory among the images', { name: 'checkpoint/deep/x.img' }],
    ['a hidden name', { name: 'checkpoint/.x.img' }],
    ['a file that is no image', { name: 'checkpoint/criu.conf' }],
    ['a link as image', { name: 'checkpoint/pages-1.img', type: 'symlink', linkname: '/dev/mem' }],
    ['a hard link as image', { name: 'checkpoint/pages-1.img', type: 'link', linkname: '/etc/shadow' }],
    ['a fifo as writable layer', { name: 'rootfs-diff.tar', type: 'fifo' }],
    ['a device as image', { name: 'checkpoint/core-1.img', type: 'block-device', devmajor: 8, devminor: 0 }],
    ['a part for the second time', { name: 'checkpoint/inventory.img' }],
  ];
  for (const [what, entry] of hostile)
    it(`is refused for ${what}`, async () => {
      expect(await code(extract([needed[0] ?? { name: '' }, entry]))).to.equal('InvalidArgument');
    });

  it('is refused where a part is missing, and where it is cut off', async () => {
    expect(await code(extract(needed.slice(1)))).to.equal('InvalidArgument');
    await writeFile(path.join(scratch, 'cut.tar'), Buffer.alloc(700, 1));
    expect(
      await code(extractArchive(path.join(scratch, 'cut.tar'), path.join(scratch, 'b'), forever)),
    ).to.equal('InvalidArgument');
  });

  it('is refused where there is no regular file, without waiting for it', async () => {
    const fifo = path.join(scratch, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const out = path.join(scratch, 'out');
    expect(await code(extractArchive(fifo, out, forever))).to.equal('InvalidArgument');
    expect(await code(extractArchive(scratch, out, forever))).to.equal('InvalidArgument');
    expect(await code(extractArchive(path.join(scratch, 'absent'), out, forever))).to.equal('NotFound');
  });
});

async function code(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'success',
    (error: unknown) => (error instanceof RuntimeError ? error.code : String(error)),
  );
}
