import path from 'node:path';
import { checkAbsolutePath, checkText, quote, refuse } from './check.js';

/** The log directory of a pod; empty if its containers keep no logs. */
export function toLogDirectory(directory: string): string {
  return directory === '' ? '' : checkAbsolutePath('config.log_directory', directory);
}

/**
 * Where a container logs: a path that stays below the pod's log directory. Undefined if one of the two is empty.
 *
 * @throws InvalidArgument for absolute paths and `..`
 */
export function toLogPath(
  directory: string,
  logPath: string,
): { readonly directory: string; readonly path: string } | undefined {
  if (logPath === '' || directory === '') return undefined;
  const field = 'config.log_path';
  checkText(field, logPath, { maxBytes: 4000 });
  if (path.posix.isAbsolute(logPath))
    throw refuse(field, `must be relative to the log directory, not ${quote(logPath)}`);
  const parts = logPath.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw refuse(field, `must not contain "..": ${quote(logPath)}`);
  if (parts.length === 0 || logPath.endsWith('/'))
    throw refuse(field, `must name a file, not ${quote(logPath)}`);
  if (parts.some((part) => Buffer.byteLength(part) > 255))
    throw refuse(field, 'has a part longer than 255 bytes');
  return { directory, path: parts.join('/') };
}
