import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { RECORD, STATE, readRecords, type Found } from './records.js';

const id = 'a'.repeat(64);
const bootId = 'this-boot';

interface Files {
  readonly disk?: Readonly<Record<string, string>>;
  readonly state?: Readonly<Record<string, string>>;
}

const record = (of: { id?: string; bootId?: string } = {}): string => JSON.stringify({ id, bootId, ...of });

describe('records of an earlier process', () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(path.join(tmpdir(), 'pw-records-'));
    await Promise.all(['disk', 'state'].map((name) => mkdir(path.join(root, name))));
  });
  afterEach(() => rm(root, { recursive: true }));

  const write = async ({ disk, state }: Files): Promise<void> => {
    await writeAll('disk', disk);
    await writeAll('state', state);
  };

  const writeAll = async (place: string, files: Files['disk']): Promise<void> => {
    if (files === undefined) return;
    await mkdir(path.join(root, place, id));
    for (const [name, text] of Object.entries(files)) await writeFile(path.join(root, place, id, name), text);
  };

  const read = (): Promise<readonly Found<{ id: string; bootId: string }, string>[]> =>
    readRecords({
      kind: 'thing',
      idField: 'containerId',
      directory: path.join(root, 'disk'),
      stateDirectory: path.join(root, 'state'),
      bootId,
      logger: { debug() {}, info() {}, warn() {}, error() {} },
      parseRecord: (text) => JSON.parse(text) as { id: string; bootId: string },
      parseState: (text) => JSON.parse(text) as string,
      madeOnce: (problem = 'made once') => problem,
      forget: async (of) => {
        for (const place of ['disk', 'state'])
          await rm(path.join(root, place, of), { recursive: true, force: true });
      },
    });

  const cases: Readonly<Record<string, { files: Files; state: string | undefined; stateless?: boolean }>> = {
    'a state': { files: { disk: { [RECORD]: record() }, state: { [STATE]: '"live"' } }, state: 'live' },
    'a state on disk, which counts': {
      files: { disk: { [RECORD]: record(), [STATE]: '"kept"' }, state: { [STATE]: '"live"' } },
      state: 'kept',
    },
    'a torn state': {
      files: { disk: { [RECORD]: record() }, state: { [STATE]: '"li' } },
      state: 'its state was unreadable',
    },
    'no state yet': { files: { disk: { [RECORD]: record() }, state: {} }, state: undefined },
    'a record that is not on disk yet': { files: { state: { [RECORD]: record() } }, state: undefined },
    'a directory on disk, but no record there yet': {
      files: { disk: {}, state: { [RECORD]: record() } },
      state: undefined,
    },
    'a state directory that is gone': {
      files: { disk: { [RECORD]: record() } },
      state: 'made once',
      stateless: true,
    },
    'a record of another boot': {
      files: { disk: { [RECORD]: record({ bootId: 'another' }) } },
      state: 'made once',
    },
  };
  for (const [name, { files, state, stateless = false }] of Object.entries(cases)) {
    it(`finds ${name}`, async () => {
      await write(files);
      const [found, ...others] = await read();
      expect(others).to.be.empty;
      expect(found?.record.id).to.equal(id);
      expect(found?.state).to.equal(state);
      expect(found?.stateless).to.equal(stateless);
    });
  }

  const nothing: Readonly<Record<string, Files>> = {
    'two empty directories': { disk: {}, state: {} },
    'a torn record of a creation': { state: { [RECORD]: record().slice(0, 20) } },
    'a record of somebody else': { state: { [RECORD]: record({ id: 'b'.repeat(64) }) } },
  };
  for (const [name, files] of Object.entries(nothing)) {
    it(`forgets ${name}`, async () => {
      await write(files);
      expect(await read()).to.be.empty;
      expect(await readdir(path.join(root, 'disk'))).to.be.empty;
      expect(await readdir(path.join(root, 'state'))).to.be.empty;
    });
  }

  it('keeps aside what it cannot read on disk', async () => {
    await write({ disk: { [RECORD]: '{' }, state: { [STATE]: '"live"' } });
    expect(await read()).to.be.empty;
    expect(await readdir(path.join(root, 'disk'))).to.deep.equal([`${id}.corrupt`]);
  });
});
