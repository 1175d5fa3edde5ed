import { appendFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { silentLogger } from '../../runtime/base/logger.js';
import type { JournalEntry } from './entry.js';
import { Journal } from './journal.js';

const entry = (name: string, more: Partial<JournalEntry> = {}): JournalEntry => ({
  atMs: 1000,
  what: 'create container',
  subject: {
    kind: 'container',
    id: '',
    name,
    attempt: 0,
    pod: { id: 'p1', name: 'web', namespace: 'default', uid: 'u1' },
  },
  ...more,
});
const failed = (name: string, sentence = 'no', more: Partial<JournalEntry> = {}) =>
  entry(name, { failure: { sentence, code: 'Internal' }, ...more });

describe('the journal', () => {
  let directory: string;
  let file: string;
  beforeEach(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'podwright-journal-'));
    file = path.join(directory, 'journal.jsonl');
  });
  afterEach(() => rm(directory, { recursive: true }));

  async function open(): Promise<Journal> {
    const journal = new Journal(file, silentLogger);
    await journal.load();
    return journal;
  }

  it('is taken up by the next one, in a file that only root reads', async () => {
    const first = await open();
    first.note(failed('a', 'no such image'));
    first.note(entry('b', { atMs: 2000, stagesMs: { plan: 1.5 } }));
    await first.close();
    expect((await stat(file)).mode & 0o777).to.equal(0o600);
    expect((await open()).entries())
      .to.deep.equal(first.entries())
      .and.have.length(2);
  });

  it('counts what repeats itself, over restarts too', async () => {
    const first = await open();
    first.note(failed('a', 'no', { atMs: 1 }));
    first.note(failed('a', 'no', { atMs: 2 }));
    first.note(failed('a', 'other', { atMs: 3 }));
    await first.close();
    const second = await open();
    second.note(failed('a', 'no', { atMs: 4 }));
    const [other, no] = second.entries();
    expect(other).to.include({ atMs: 3 }).and.not.have.property('times');
    expect(no).to.include({ atMs: 4, times: 3, firstAtMs: 1 });
  });

  it('is bounded, and forgets no trouble for what went well', async () => {
    const journal = await open();
    journal.note(failed('first'));
    for (let count = 0; count < 5000; count += 1) journal.note(entry(`c${count}`, { atMs: 2000 + count }));
    expect(journal.entries().length).to.be.below(2500);
    expect(journal.entries()[0]?.subject.name).to.equal('first');
    for (let count = 0; count < 1000; count += 1) journal.note(failed(`d${count}`));
    expect(journal.entries().filter(({ failure }) => failure !== undefined)).to.have.length(256);
    for (let round = 0; round < 5; round += 1) {
      await journal.close();
      for (let count = 0; count < 500; count += 1) journal.note(failed(`e${count}`, 'x'.repeat(400)));
    }
    await journal.close();
    for (const name of [file, `${file}.1`]) expect((await stat(name)).size).to.be.within(1, 700_000);
  });

  it('cuts long texts', async () => {
    const journal = await open();
    journal.note(failed('a', 'x'.repeat(100_000)));
    expect(journal.entries()[0]?.failure?.sentence.length).to.be.below(2100);
  });

  it('leaves out torn lines, and those of somebody else', async () => {
    const first = await open();
    first.note(failed('a'));
    await first.close();
    await appendFile(file, '{"atMs": 1, "what": "x"}\nnonsense\n\n[]\n{"atMs": 5, "wh');
    expect((await open()).entries()).to.have.length(1);
    expect((await readFile(file, 'utf8')).split('\n')).to.have.length(6);
  });

  it('is kept in memory where it cannot be written', async () => {
    await writeFile(path.join(directory, 'plain'), '');
    const said: string[] = [];
    const log = { ...silentLogger, warn: (message: string) => said.push(message) };
    const journal = new Journal(path.join(directory, 'plain/journal.jsonl'), log);
    await journal.load();
    journal.note(failed('a'));
    await journal.close();
    journal.note(failed('b'));
    await journal.close();
    expect(journal.entries()).to.have.length(2);
    expect(said.filter((message) => message === 'journal cannot be written')).to.have.length(1);
  });
});
