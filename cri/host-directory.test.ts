import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { makeHostDirectory } from './host-directory.js';

describe('a directory of the host', () => {
  let scratch: string;
  beforeEach(async () => {
    scratch = await mkdtemp(path.join(os.tmpdir(), 'pw-directory-'));
  });
  afterEach(() => rm(scratch, { recursive: true }));

  it('is unmade with the parents that were made for it, and no others', async () => {
    await makeHostDirectory(path.join(scratch, 'before'));
    const undo = await makeHostDirectory(path.join(scratch, 'before/a/b/c/'));
    expect(await readdir(path.join(scratch, 'before/a/b'))).to.deep.equal(['c']);
    await undo();
    await undo();
    expect(await readdir(scratch)).to.deep.equal(['before']);
    expect(await readdir(path.join(scratch, 'before'))).to.deep.equal([]);
  });

  it('that was there stays', async () => {
    const undo = await makeHostDirectory(scratch);
    await undo();
    expect(await readdir(scratch)).to.deep.equal([]);
  });

  it('stays where something was put into it', async () => {
    const undo = await makeHostDirectory(path.join(scratch, 'a/b'));
    await writeFile(path.join(scratch, 'a/file'), '');
    await undo();
    expect(await readdir(path.join(scratch, 'a'))).to.deep.equal(['file']);
  });
});
