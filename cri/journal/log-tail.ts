import { constants } from 'node:fs';
import { open } from 'node:fs/promises';

const maxBytes = 16 * 1024;
const maxLineLength = 1024;

/** The last lines of a container's log, without what the CRI puts before them. A log that is not there has none. */
export async function readLogTail(file: string, maxLines: number): Promise<readonly string[]> {
  try {
    return (await readEnd(file))
      .split('\n')
      .filter((line) => line !== '')
      .slice(-maxLines)
      .map(textOfLine);
  } catch {
    return [];
  }
}

async function readEnd(file: string): Promise<string> {
  // Not blocking, nor through a link: what lies there need not be a log.
  const log = await open(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  try {
    const stats = await log.stat();
    if (!stats.isFile()) return '';
    const start = Math.max(0, stats.size - maxBytes);
    const { buffer, bytesRead } = await log.read(Buffer.alloc(maxBytes), 0, maxBytes, start);
    const text = buffer.subarray(0, bytesRead).toString('utf8');
    // The first line may have been cut.
    return start === 0 ? text : text.slice(text.indexOf('\n') + 1);
  } finally {
    await log.close();
  }
}

/** `TIME STREAM P|F TEXT` */
function textOfLine(line: string): string {
  const text = /^\S+ (?:stdout|stderr) [PF] (.*)$/.exec(line)?.[1] ?? line;
  return harmless(text).slice(0, maxLineLength);
}

/** What others wrote, without the control characters that would do something to a terminal; tabs stay. */
export function harmless(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/g, '\ufffd');
}
