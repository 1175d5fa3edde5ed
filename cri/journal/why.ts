import type { Runtime } from '../../runtime/index.js';
import { RuntimeError } from '../../runtime/errors.js';
import { quote, refuse } from '../translate/check.js';
import { type Failure, type JournalEntry, type Subject, isTrouble } from './entry.js';
import type { Journal } from './journal.js';
import { type Life, livesOf } from './life.js';
import { readLogTail } from './log-tail.js';

/** What is known of the objects of a question. */
export interface Explanation {
  /** The cause of the latest trouble in one sentence; if there is none, what it is now. */
  readonly cause: string;
  readonly lives: readonly ExplainedLife[];
}

export interface ExplainedLife extends Life {
  /** The last lines of a container's log. */
  readonly log: readonly string[];
}

const maxLives = 16;
const logLines = 10;

/** @throws InvalidArgument without a question, NotFound if nothing is known of it */
export async function explain(question: string, journal: Journal, runtime: Runtime): Promise<Explanation> {
  if (question === '') throw refuse('object', 'must not be empty');
  const found = livesOf(question, journal, runtime).slice(-maxLives);
  if (found.length === 0) {
    throw new RuntimeError('NotFound', 'nothing is known of', {
      subject: quote(question),
      cause: 'no pod, container or image of that id or name was asked for lately',
    });
  }
  const lives = await Promise.all(found.map(withLog));
  return { cause: causeOf(lives), lives };
}

const maxLatest = 20;

/** What went wrong lately, a sentence each, for the `verbose` status of the node. */
export function latestTroubles(
  journal: Journal,
): readonly { readonly at: string; readonly sentence: string }[] {
  return journal
    .entries()
    .filter(isTrouble)
    .slice(-maxLatest)
    .map((entry) => ({
      at: new Date(entry.atMs).toISOString(),
      sentence: sentenceOf(entry, { subject: entry.subject, entries: [entry], log: [] }),
    }));
}

async function withLog(life: Life): Promise<ExplainedLife> {
  const { log } = life.subject;
  return { ...life, log: log === undefined ? [] : await readLogTail(log, logLines) };
}

/** What the latest of these troubles comes from, in one sentence. */
function causeOf(lives: readonly ExplainedLife[]): string {
  const troubles = lives.flatMap((life) => {
    const entry = troubleOf(life);
    return entry === undefined ? [] : [{ life, entry }];
  });
  const latest = troubles.sort((one, other) => one.entry.atMs - other.entry.atMs).at(-1);
  if (latest !== undefined) return sentenceOf(latest.entry, latest.life).replace(/\s*\n\s*/g, ' ');
  return (
    lives
      .map(({ subject, state, entries }) => {
        const last = entries.at(-1);
        return `${nameOf(subject)}: ${state ?? (last === undefined ? 'unknown' : (last.note ?? last.what))}`;
      })
      .join('; ') + ': nothing has failed'
  );
}

/** The trouble an object is in: the last one, unless it was made, started or pulled since. */
function troubleOf({ entries }: Life): JournalEntry | undefined {
  let trouble: JournalEntry | undefined;
  for (const entry of entries) {
    if (isTrouble(entry)) trouble = entry;
    else if (/^(run|create|start|pull) |^exited$/.test(entry.what)) trouble = undefined;
  }
  return trouble;
}

function sentenceOf({ what, failure, exit, subject }: JournalEntry, life: ExplainedLife): string {
  if (failure !== undefined) return `${nameOf(subject)}: ${what} failed: ${withoutObject(failure, what)}`;
  if (exit === undefined) return '';
  if (exit.reason === 'StartError') return `${nameOf(subject)}: start container failed: ${exit.message}`;
  const message = exit.message === '' ? `exited with status ${exit.code}` : exit.message;
  const own = exit.reason === 'Error' && exit.signal === 0 ? lastWords(life) : '';
  return `${nameOf(subject)}: ${message}${own}`;
}

/** What went wrong without the word for the kubelet, and without what was tried on which long id. */
function withoutObject({ sentence, reason }: Failure, what: string): string {
  const plain = sentence.startsWith(`${reason}: `) ? sentence.slice(`${reason}: `.length) : sentence;
  return plain.startsWith(`${what} `) ? plain.replace(/^.*?: /, '') : plain;
}

/** A program that ends itself says why in its log, if anywhere. */
function lastWords({ log, readOnlyRoot }: ExplainedLife): string {
  const words = log.findLast((line) => line.trim() !== '');
  if (words === undefined) return '';
  const refused = log.find((line) => /read-only file system|EROFS/i.test(line));
  if (refused !== undefined && readOnlyRoot === true)
    return `: its root file system is read-only, and it said "${refused}" (mount a volume where it writes)`;
  return `; its last words were "${words}"`;
}

/** `container POD/NAME`, as people name it. */
export function nameOf({ kind, name, pod }: Subject): string {
  return kind === 'container' && pod !== undefined && pod.name !== ''
    ? `container ${pod.name}/${name}`
    : `${kind} ${name}`;
}
