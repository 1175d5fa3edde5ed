import { createLogger, format, transports } from 'winston';
import type { LazyFields, LogFields, Logger } from '../runtime/base/logger.js';

export type LogLevel = 'error' | 'warn' | 'info' | 'debug';
export type LogFormat = 'text' | 'json';

export interface LogForm {
  readonly level: LogLevel;
  readonly format: LogFormat;
}

export interface LogOptions extends LogForm {
  readonly stream: NodeJS.WritableStream;
}

export interface DaemonLog extends Logger {
  /** From the next line on. */
  reconfigure(form: LogForm): void;
}

/**
 * The daemon's logger: one line per entry, a constant sentence and fields. Values of fields that could be secrets
 * never reach the stream, and no value can break out of its line.
 */
export function openLog({ level, format: firstForm, stream }: LogOptions): DaemonLog {
  let form = firstForm;
  const logger = createLogger({
    level,
    format: format.printf((info) => {
      const { level: entryLevel, message, fields } = info;
      const entry = { level: entryLevel, message: String(message), fields: fields as LogFields | undefined };
      return form === 'json' ? jsonLine(entry) : textLine(entry);
    }),
    transports: [new transports.Stream({ stream, eol: '\n' })],
  });
  const write =
    (entryLevel: LogLevel) =>
    (message: string, fields?: LogFields | LazyFields): void => {
      // Winston makes an entry of everything, and drops it at the end of its pipeline.
      if (!logger.isLevelEnabled(entryLevel)) return;
      // Winston merges what it is given into the entry itself: fields stay apart, so that none can replace the message.
      logger.log(entryLevel, { message, fields: valueOf(fields) });
    };
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    reconfigure: (next) => {
      logger.level = next.level;
      form = next.format;
    },
  };
}

/** A logger that adds the same fields to each entry. */
export function withFields(logger: Logger, common: LogFields): Logger {
  const bind =
    (entryLevel: LogLevel) =>
    (message: string, fields?: LogFields | LazyFields): void =>
      logger[entryLevel](message, () => ({ ...common, ...valueOf(fields) }));
  return { debug: bind('debug'), info: bind('info'), warn: bind('warn'), error: bind('error') };
}

function valueOf(fields: LogFields | LazyFields | undefined): LogFields | undefined {
  return typeof fields === 'function' ? fields() : fields;
}

interface Entry {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields | undefined;
}

function jsonLine({ level, message, fields }: Entry): string {
  return JSON.stringify({ time: new Date().toISOString(), level, message, ...cleanFields(fields) });
}

function textLine({ level, message, fields }: Entry): string {
  const pairs = Object.entries(cleanFields(fields)).map(([key, value]) => ` ${key}=${textValue(value)}`);
  return `${new Date().toISOString()} ${level.padEnd(5)} ${message}${pairs.join('')}`;
}

function textValue(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'undefined');
  return /^[\w@%+./:,#-]+$/.test(text) ? text : JSON.stringify(text);
}

/** Names of fields whose value is never written, without case and separators. */
const secretNames: ReadonlySet<string> = new Set([
  'auth',
  'authorization',
  'credentials',
  'identitytoken',
  'password',
  'registrytoken',
  'secret',
  'token',
]);

const maxTextLength = 4096;
const maxDepth = 6;

function cleanFields(fields: LogFields | undefined): Record<string, unknown> {
  if (fields === undefined) return {};
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries.map(([key, value]) => [key, clean(key, value, 0)]));
}

function clean(key: string, value: unknown, depth: number): unknown {
  if (secretNames.has(key.replace(/[-_]/g, '').toLowerCase())) return '[redacted]';
  if (typeof value === 'string') return shorten(value);
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof Error) return shorten(value.message);
  if (typeof value !== 'object' || value === null) return value;
  if (depth === maxDepth || ArrayBuffer.isView(value)) return '[…]';
  if (Array.isArray(value)) return value.map((item) => clean('', item, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, clean(name, item, depth + 1)]),
  );
}

function shorten(text: string): string {
  return text.length <= maxTextLength ? text : `${text.slice(0, maxTextLength)}…`;
}
