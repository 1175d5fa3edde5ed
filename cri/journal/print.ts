import type { JournalEntry } from './entry.js';
import { harmless } from './log-tail.js';
import { type ExplainedLife, type Explanation, nameOf } from './why.js';

/** An explanation for people: the cause first, then every life with its stages. */
export function printExplanation({ cause, lives }: Explanation): string {
  const lines = [cause, ...lives.flatMap((life) => ['', ...printLife(life)])];
  return `${lines.map(harmless).join('\n')}\n`;
}

function printLife({ subject, state, entries, log }: ExplainedLife): string[] {
  const { id, image, pod, kind } = subject;
  const title = [nameOf(subject), id.slice(0, 13), state === undefined ? '' : `(${state})`];
  const place = kind === 'image' || pod === undefined ? '' : `namespace ${pod.namespace}, uid ${pod.uid}`;
  const more = [place, image === undefined ? '' : `image ${image}`].filter((part) => part !== '');
  return [
    title.filter((part) => part !== '').join(' '),
    ...(more.length === 0 ? [] : [`  ${more.join(', ')}`]),
    ...entries.flatMap(printEntry),
    ...(log.length === 0 ? [] : [`  log ${subject.log ?? ''}`, ...log.map((line) => `    ${line}`)]),
  ];
}

function printEntry(entry: JournalEntry): string[] {
  const { atMs, what, durationMs, stagesMs, failure, note, times, firstAtMs } = entry;
  const head = [
    new Date(atMs).toISOString(),
    what,
    durationMs === undefined ? '' : durationText(durationMs),
    failure === undefined ? '' : 'failed',
    times === undefined ? '' : `(${times} times since ${new Date(firstAtMs ?? atMs).toISOString()})`,
    note ?? '',
  ];
  const stages = Object.entries(stagesMs ?? {}).map(([stage, ms]) => `${stage} ${durationText(ms)}`);
  return [
    `  ${head.filter((part) => part !== '').join('  ')}`,
    ...detail('stages', stages.join(', ')),
    ...detail('ended', exitText(entry)),
    ...(failure === undefined ? [] : printFailure(failure)),
  ];
}

function printFailure({
  sentence,
  code,
  reason,
  step,
  systemCall,
  output,
}: NonNullable<JournalEntry['failure']>) {
  const call =
    systemCall &&
    `${systemCall.syscall}${systemCall.path === undefined ? '' : ` ${systemCall.path}`}: ${systemCall.errno}`;
  return [
    ...detail('error', sentence.replace(/\s*\n\s*/g, ' ')),
    ...detail('code', reason === undefined ? code : `${code}, ${reason}`),
    ...detail('plan step', step ?? ''),
    ...detail('system call', call ?? ''),
    ...(output === undefined ? [] : output.split('\n').flatMap((line) => detail('output', line))),
  ];
}

function exitText({ exit }: JournalEntry): string {
  if (exit === undefined) return '';
  const status = exit.signal === 0 ? `status ${exit.code}` : `signal ${exit.signal}`;
  return [status, exit.reason, exit.message].filter((part) => part !== '').join(', ');
}

function detail(name: string, text: string): string[] {
  return text === '' ? [] : [`      ${name.padEnd(12)}${text}`];
}

function durationText(ms: number): string {
  return ms < 10_000 ? `${Math.round(ms * 100) / 100} ms` : `${Math.round(ms / 100) / 10} s`;
}
