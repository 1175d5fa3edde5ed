import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { silentLogger } from '../../runtime/base/logger.js';
import { openInMemoryRuntime } from '../testing/in-memory-runtime.js';
import type { JournalEntry, Subject } from './entry.js';
import { Journal } from './journal.js';
import { readLogTail } from './log-tail.js';
import { printExplanation } from './print.js';
import { explain } from './why.js';

const pod = { id: 'a'.repeat(64), name: 'web', namespace: 'shop', uid: 'u1' };
const subjects = {
  pod: { kind: 'pod', id: pod.id, name: 'web', attempt: 0, pod },
  main: { kind: 'container', id: 'b'.repeat(64), name: 'main', attempt: 0, pod },
  unmade: { kind: 'container', id: '', name: 'main', attempt: 0, pod },
  image: { kind: 'image', id: '', name: 'r.example/x:1', attempt: 0, pod },
  other: {
    kind: 'pod',
    id: 'c'.repeat(64),
    name: 'db',
    attempt: 0,
    pod: { ...pod, id: 'c'.repeat(64), name: 'db', uid: 'u2' },
  },
} as const satisfies Readonly<Record<string, Subject>>;

interface Happening extends Partial<Omit<JournalEntry, 'subject'>> {
  readonly of: keyof typeof subjects;
  readonly what: string;
}

/** Asks a journal of these entries, one a second. */
async function ask(question: string, ...happenings: readonly Happening[]) {
  const journal = new Journal(undefined, silentLogger);
  for (const [index, { of, ...entry }] of happenings.entries())
    journal.note({ atMs: 1000 * index, subject: subjects[of], ...entry });
  return explain(question, journal, openInMemoryRuntime());
}

const failure = (sentence: string, reason?: string) => ({ failure: { sentence, code: 'Internal', reason } });
const exit = (code: number, message = '') => ({ exit: { code, signal: 0, reason: 'Error', message } });

describe('the answer to why', () => {
  const run: Happening = { of: 'pod', what: 'run pod sandbox' };
  const refused: Happening = {
    of: 'unmade',
    what: 'create container',
    ...failure('create container main_web_0: no room'),
  };
  const made: Happening = { of: 'main', what: 'create container' };
  const notPulled: Happening = {
    of: 'image',
    what: 'pull image',
    ...failure(
      'RegistryUnavailable: pull image r.example/x:1: reach registry: refused',
      'RegistryUnavailable',
    ),
  };

  it('is the sentence of what failed last, without ids', async () => {
    expect((await ask('web', run, refused)).cause).to.equal(
      'container web/main: create container failed: no room',
    );
  });

  it('forgets what has succeeded since', async () => {
    expect((await ask('main', refused, made)).cause).to.match(/nothing has failed$/);
    expect((await ask('web', refused, notPulled, made)).cause).to.equal(
      'image r.example/x:1: pull image failed: reach registry: refused',
    );
  });

  it('outlasts the removal of the object', async () => {
    const gone = await ask(
      'main',
      made,
      { of: 'main', what: 'exited', ...exit(3) },
      { of: 'main', what: 'remove container' },
    );
    expect(gone.cause).to.equal('container web/main: exited with status 3');
  });

  for (const question of ['a', 'aaaa', 'web', 'shop/web', 'u1'])
    it(`brings all of a pod for ${question}`, async () => {
      const { lives } = await ask(question, run, made, notPulled, { of: 'other', what: 'run pod sandbox' });
      expect(lives.map(({ subject }) => subject.name)).to.deep.equal(['web', 'main', 'r.example/x:1']);
    });

  for (const question of ['bbb', 'main', 'web/main', 'shop/web/main'])
    it(`brings the container for ${question}, with what failed before it had an id`, async () => {
      const { lives } = await ask(question, run, refused, made);
      expect(lives.map(({ subject, entries }) => [subject.id, entries.length])).to.deep.equal([
        [subjects.main.id, 2],
      ]);
    });

  it('knows nothing of what nobody asked for', async () => {
    for (const [question, code] of [
      ['nobody', 'NotFound'],
      ['', 'InvalidArgument'],
    ] as const)
      expect(await ask(question, run).catch((error: unknown) => error)).to.have.property('code', code);
  });

  it('is one line, and nothing of it reaches the terminal as a command', async () => {
    const said = { ...failure('CNI said\n  \u001b[2Jno'), note: 'a\u0007' };
    const [first] = printExplanation(await ask('web', { ...run, ...said })).split('\n');
    expect(first).to.equal('pod web: run pod sandbox failed: CNI said \ufffd[2Jno');
  });

  it('prints a life', async () => {
    const details = { ...failure('no'), durationMs: 12_345.6, stagesMs: { plan: 1.234 } };
    const text = printExplanation(await ask('main', { of: 'main', what: 'start container', ...details }));
    expect(text.split('\n')).to.deep.equal([
      'container web/main: start container failed: no',
      '',
      'container web/main bbbbbbbbbbbbb',
      '  namespace shop, uid u1',
      '  1970-01-01T00:00:00.000Z  start container  12.3 s  failed',
      '      stages      plan 1.23 ms',
      '      error       no',
      '      code        Internal',
      '',
    ]);
  });
});

describe('the end of a log', () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'podwright-log-'));
  });
  after(() => rm(directory, { recursive: true }));

  const line = (text: string): string => `2026-01-01T00:00:00.000000000Z stderr F ${text}\n`;

  it('is its last lines, harmless to a terminal', async () => {
    const file = path.join(directory, 'a.log');
    await writeFile(
      file,
      `${line('x'.repeat(40_000))}${line('one')}${line('\u001b[31mtwo')}${line('three')}`,
    );
    expect(await readLogTail(file, 2)).to.deep.equal(['\ufffd[31mtwo', 'three']);
    expect(await readLogTail(file, 10)).to.deep.equal(['one', '\ufffd[31mtwo', 'three']);
  });

  it('is empty of what is no log', async () => {
    await symlink('/etc/passwd', path.join(directory, 'link'));
    for (const name of ['link', '.', 'absent'])
      expect(await readLogTail(path.join(directory, name), 5)).to.deep.equal([]);
  });
});
