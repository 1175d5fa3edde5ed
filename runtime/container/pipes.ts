import net from 'node:net';
import { closeFd, pipe, type Fd } from '../../native/index.js';
import type { Session, SessionRequest } from './types.js';

/** Pipes of a session: the process' ends as descriptors, ours as streams. */
export interface Pipes {
  readonly ends: {
    readonly stdin: Fd | undefined;
    readonly stdout: Fd | undefined;
    readonly stderr: Fd | undefined;
  };
  readonly streams: Pick<Session, 'stdin' | 'stdout' | 'stderr'>;
  /** Once they are handed on. */
  closeEnds(): void;
  destroy(): void;
}

export function openPipes({ stdin, stdout, stderr }: SessionRequest): Pipes {
  const input = stdin ? openPipe('write') : undefined;
  const output = stdout ? openPipe('read') : undefined;
  const errors = stderr ? openPipe('read') : undefined;
  const all = [input, output, errors].filter((made) => made !== undefined);
  return {
    ends: { stdin: input?.end, stdout: output?.end, stderr: errors?.end },
    streams: { stdin: input?.stream, stdout: output?.stream, stderr: errors?.stream },
    closeEnds: () => {
      for (const { end } of all) closeFd(end);
    },
    destroy: () => {
      for (const { stream } of all) stream.destroy();
    },
  };
}

/** We read or write it; `end` is the process'. */
function openPipe(ours: 'read' | 'write'): { readonly end: Fd; readonly stream: net.Socket } {
  const [readEnd, writeEnd] = pipe();
  const reads = ours === 'read';
  const stream = new net.Socket({ fd: reads ? readEnd : writeEnd, readable: reads, writable: !reads });
  // Whoever uses it listens too; a process that does not read its input is no mistake of ours.
  stream.on('error', () => undefined);
  return { end: reads ? writeEnd : readEnd, stream };
}
