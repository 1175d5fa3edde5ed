import { mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { writeArchive } from './archive.js';
import { extractArchive } from './extract.js';

describe('a checkpoint archive', () => {
  let scratch: string;
  const forever = new AbortController().signal;
  const inScratch = (...names: readonly string[]): string => path.join(scratch, ...names);

  beforeEach(async () => {
    scratch = await mkdtemp(path.join(tmpdir(), 'pw-archive-'));
    await mkdir(inScratch('parts/checkpoint'), { recursive: true });
    await writeFile(inScratch('parts/checkpoint/inventory.img'), 'inventory');
    await writeFile(inScratch('parts/checkpoint/descriptors.json'), '[]');
    await writeFile(inScratch('parts/rootfs-diff.tar'), 'layer');
    await writeFile(inScratch('parts/config.dump'), '{}');
    await mkdir(inScratch('out'));
  });
  afterEach(async () => {
    await rm(scratch, { recursive: true, force: true });
  });

  const write = async (
    target: string,
    names = ['checkpoint', 'rootfs-diff.tar', 'config.dump'],
  ): Promise<void> => writeArchive(inScratch('parts'), names, target, forever);

  it('is for root alone, and gives back what a restore needs', async () => {
    await write(inScratch('out/a.tar'));
    expect((await stat(inScratch('out/a.tar'))).mode & 0o7777).to.equal(0o600);
    await extractArchive(inScratch('out/a.tar'), inScratch('back'), forever);
    expect(await readdir(inScratch('back'))).to.have.members(['checkpoint', 'rootfs-diff.tar']);
    expect(await readFile(inScratch('back/checkpoint/inventory.img'), 'utf8')).to.equal('inventory');
    expect((await stat(inScratch('back/rootfs-diff.tar'))).mode & 0o7777).to.equal(0o600);
  });

  it('takes the place of a link and does not follow it', async () => {
    await writeFile(inScratch('victim'), 'untouched');
    await symlink(inScratch('victim'), inScratch('out/a.tar'));
    await write(inScratch('out/a.tar'));
    expect(await readFile(inScratch('victim'), 'utf8')).to.equal('untouched');
  });

  it('leaves nothing when a part is missing or the caller gives up', async () => {
    await failure(write(inScratch('out/a.tar'), ['checkpoint', 'absent']));
    await failure(
      writeArchive(inScratch('parts'), ['checkpoint'], inScratch('out/b.tar'), AbortSignal.abort()),
    );
    expect(await readdir(inScratch('out'))).to.deep.equal([]);
  });
});

async function failure(call: Promise<unknown>): Promise<Error> {
  const error: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof Error) return error;
  throw new Error('it did not fail');
}
