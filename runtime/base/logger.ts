/**
 * Where a room writes its log lines. The message is a constant sentence in lower case; what varies is in the fields
 * (`containerId`, `imageId`, `durationMs`), which may be a function: it is called for a line that is written. The
 * composition root hands each room one.
 */
export interface Logger {
  debug(message: string, fields?: LogFields | LazyFields): void;
  info(message: string, fields?: LogFields | LazyFields): void;
  warn(message: string, fields?: LogFields | LazyFields): void;
  error(message: string, fields?: LogFields | LazyFields): void;
}

export type LogFields = Readonly<Record<string, unknown>>;
export type LazyFields = () => LogFields;

/** A logger that drops everything, for tests and tools. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
