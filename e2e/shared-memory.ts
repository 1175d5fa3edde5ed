import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

/** System V shared memory segments of this machine that no process is attached to, by id (man 5 sysvipc). */
export async function unusedSegments(): Promise<ReadonlySet<string>> {
  const table = await readFile('/proc/sysvipc/shm', 'utf8').catch(() => '');
  const [header = '', ...rows] = table.split('\n').map((line) => line.trim().split(/\s+/).join(' '));
  const columns = header.split(' ');
  const id = columns.indexOf('shmid');
  const attached = columns.indexOf('nattch');
  const cells = rows.filter((row) => row !== '').map((row) => row.split(' '));
  return new Set(cells.filter((row) => row[attached] === '0').map((row) => row[id] ?? ''));
}

/** Removes the segments that came up since `before` and that nobody uses. */
export async function removeNewSegments(before: ReadonlySet<string>): Promise<void> {
  for (const id of await unusedSegments()) {
    if (!before.has(id)) await promisify(execFile)('ipcrm', ['-m', id]).catch(() => undefined);
  }
}
