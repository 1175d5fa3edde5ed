import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { awaitChange } from './await-change.js';
import { type Bed, type ContainerConfig, type Pod, exitOf, patienceMs, runContainer } from './bed.js';

/** A line of a container's log: `TIME STREAM P|F TEXT`. */
export interface LogLine {
  /** As written, RFC 3339 with nanoseconds. */
  readonly time: string;
  readonly stream: string;
  /** P: the text goes on in the stream's next line. */
  readonly tag: string;
  readonly text: string;
}

const format =
  /^(?<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(?:Z|[+-]\d\d:\d\d)) (?<stream>stdout|stderr) (?<tag>[PF]) (?<text>.*)$/s;

/** @throws Error for a line in another form; a last line that is not ended yet is left out */
export function parseLog(text: string): readonly LogLine[] {
  const lines = text.split('\n').slice(0, -1);
  return lines.map((line) => {
    const { time, stream, tag, text: rest } = format.exec(line)?.groups ?? {};
    if (time === undefined || stream === undefined || tag === undefined || rest === undefined)
      throw new Error(`not a line of a CRI log: ${JSON.stringify(line.slice(0, 200))}`);
    return { time, stream, tag, text: rest };
  });
}

export async function readLog(file: string): Promise<readonly LogLine[]> {
  return parseLog(await readFile(file, 'utf8'));
}

/** The texts of a log's lines. */
export async function readTexts(file: string): Promise<readonly string[]> {
  return (await readLog(file)).map(({ text }) => text);
}

/** Runs a container to its end. */
export async function runToEnd(
  bed: Bed,
  pod: Pod,
  config: ContainerConfig,
): Promise<{ readonly exitCode: number; readonly texts: readonly string[] }> {
  const { id, log } = await runContainer(bed, pod, config);
  const { exitCode } = await exitOf(bed, id);
  return { exitCode, texts: await readTexts(log) };
}

/** Resolves with what `look` finds in the log, as soon as it finds something. */
export async function awaitLog<T>(
  file: string,
  look: (lines: readonly LogLine[]) => T | undefined,
  timeoutMs: number = patienceMs,
): Promise<T> {
  const read = async (): Promise<T | undefined> => {
    const text = await readFile(file, 'utf8').catch(() => '');
    return look(parseLog(text));
  };
  try {
    return await awaitChange(path.dirname(file), read, AbortSignal.timeout(timeoutMs));
  } catch (error) {
    const text = await readFile(file, 'utf8').catch(() => '');
    throw new Error(`waited ${timeoutMs} ms for ${file}, which ends in:\n${text.slice(-1000)}`, {
      cause: error,
    });
  }
}

/** Resolves once a line is exactly this text. */
export async function awaitLine(file: string, text: string): Promise<void> {
  await awaitLog(file, (lines) => lines.some((line) => line.text === text) || undefined);
}
