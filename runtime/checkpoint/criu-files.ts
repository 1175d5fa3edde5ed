import { constants } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { openat2, type Fd } from '../../native/index.js';
import { messageOf } from '../errors.js';

const AT_FDCWD = -100;

/** A directory that CRIU reads or writes through /proc/OUR-PID/fd. */
export function openDirectory(directory: string): Fd {
  return openat2(AT_FDCWD, directory, { flags: constants.O_RDONLY | constants.O_DIRECTORY });
}

/** The last error lines of CRIU's log say what its error code does not. */
export async function criuError(error: unknown, logFile: string): Promise<string> {
  const log = await readFile(logFile, 'utf8').catch(() => '');
  const lines = log
    .split('\n')
    .filter((line) => line.includes('Error'))
    .slice(-3);
  return [messageOf(error), ...lines.map((line) => line.replace(/^\([\d.]+\)\s*/, '').trim())].join('; ');
}
