import { appendFile, readFile, rename, stat } from 'node:fs/promises';
import type { Logger } from '../../runtime/base/logger.js';
import { isErrno, messageOf } from '../../runtime/errors.js';
import {
  type JournalEntry,
  type Subject,
  cutTexts,
  entrySchema,
  isTrouble,
  keyOf,
  maxTextLength,
} from './entry.js';

/** Troubles are kept apart, or a busy node would forget them within minutes. */
const maxTroubles = 256;
const maxHappenings = 1024;

/** Of each of the two files, the current one and the one before. */
const maxFileBytes = 128 * 1024;

const writeDelayMs = 250;

/**
 * What happened lately to pods, containers and images, above all what failed and left no object behind that could be
 * asked. Bounded: a trouble that repeats itself is counted, the oldest entries go. It is written to a file with a short
 * delay, so that the next daemon knows it as well; what cannot be written is only kept in memory.
 */
export class Journal {
  private readonly troubles = new Map<string, JournalEntry>();
  private happenings: JournalEntry[] = [];
  private unwritten: string[] = [];
  private timer: NodeJS.Timeout | undefined;
  private writing: Promise<void> = Promise.resolve();
  private fileBytes = 0;
  private failedToWrite = false;

  /** @param file undefined: it lives in memory only */
  constructor(
    private readonly file: string | undefined,
    private readonly log: Logger,
  ) {}

  /** Takes up what earlier daemons wrote. */
  async load(): Promise<void> {
    if (this.file === undefined) return;
    for (const name of [previous(this.file), this.file]) {
      const text = await readFile(name, 'utf8').catch((error: unknown) => {
        if (!isErrno(error, 'ENOENT')) this.log.warn('journal cannot be read', { error: messageOf(error) });
        return '';
      });
      for (const line of text.split('\n')) {
        const entry = parseEntry(line);
        if (entry !== undefined) this.keep(entry);
      }
    }
    this.fileBytes = await stat(this.file).then(
      ({ size }) => size,
      () => 0,
    );
  }

  note(entry: JournalEntry): void {
    const line = JSON.stringify(entry);
    const brief = line.length <= maxTextLength ? entry : cutTexts(entry);
    const kept = this.keep(brief);
    if (this.file === undefined) return;
    this.unwritten.push(`${kept === entry ? line : JSON.stringify(kept)}\n`);
    this.timer ??= setTimeout(() => void this.write(), writeDelayMs).unref();
  }

  /** All entries, the oldest first. */
  entries(): readonly JournalEntry[] {
    return [...this.troubles.values(), ...this.happenings].sort((one, other) => one.atMs - other.atMs);
  }

  /** Who has this id, or one that begins so, as the last entry about it says. */
  lastSubject(kind: Subject['kind'], id: string): Subject | undefined {
    const isIt = ({ subject }: JournalEntry): boolean => subject.kind === kind && subject.id.startsWith(id);
    return (this.happenings.findLast(isIt) ?? [...this.troubles.values()].findLast(isIt))?.subject;
  }

  /** Writes what is not written yet. */
  async close(): Promise<void> {
    await this.write();
  }

  private keep(entry: JournalEntry): JournalEntry {
    if (!isTrouble(entry)) {
      this.happenings.push(entry);
      if (this.happenings.length >= 2 * maxHappenings)
        this.happenings = this.happenings.slice(-maxHappenings);
      return entry;
    }
    const { subject, what, failure } = entry;
    const key = [keyOf(subject), what, failure?.sentence ?? subject.id].join('\0');
    const counted = failure === undefined ? entry : countRepeats(entry, this.troubles.get(key));
    this.troubles.delete(key);
    this.troubles.set(key, counted);
    for (const oldest of this.troubles.keys()) {
      if (this.troubles.size <= maxTroubles) break;
      this.troubles.delete(oldest);
    }
    return counted;
  }

  private write(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.writing = this.writing.then(() => this.append());
    return this.writing;
  }

  private async append(): Promise<void> {
    const lines = this.unwritten.join('');
    this.unwritten = [];
    if (this.file === undefined || lines === '') return;
    try {
      const bytes = Buffer.byteLength(lines);
      if (this.fileBytes > 0 && this.fileBytes + bytes > maxFileBytes) {
        await rename(this.file, previous(this.file));
        this.fileBytes = 0;
      }
      await appendFile(this.file, lines, { mode: 0o600 });
      this.fileBytes += bytes;
      this.failedToWrite = false;
    } catch (error) {
      // Said once: a full disk is no reason to fill the log as well.
      if (!this.failedToWrite) this.log.warn('journal cannot be written', { error: messageOf(error) });
      this.failedToWrite = true;
    }
  }
}

/** An entry from the file has its number already. */
function countRepeats(entry: JournalEntry, same: JournalEntry | undefined): JournalEntry {
  if (entry.times !== undefined || same === undefined) return entry;
  return { ...entry, times: (same.times ?? 1) + 1, firstAtMs: same.firstAtMs ?? same.atMs };
}

function previous(file: string): string {
  return `${file}.1`;
}

/** A line that was torn, or that somebody else wrote, is left out. */
function parseEntry(line: string): JournalEntry | undefined {
  if (line === '') return undefined;
  try {
    const result = entrySchema.safeParse(JSON.parse(line));
    return result.success ? cutTexts(result.data) : undefined;
  } catch {
    return undefined;
  }
}
