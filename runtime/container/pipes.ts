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
  const all: OpenPipe[] = [];
  const open = (wanted: boolean, ours: 'read' | 'write'): OpenPipe | undefined => {
    if (!wanted) return undefined;
    const made = openPipe(ours);
    all.push(made);
    return made;
  };
  const closeEnds = (): void => {
    for (const { end } of all) closeFd(end);
  };
  const destroy = (): void => {
    for (const { stream } of all) stream.destroy();
  };
  try {
    const [input, output, errors] = [open(stdin, 'write'), open(stdout, 'read'), open(stderr, 'read')];
    return {
      ends: { stdin: input?.end, stdout: output?.end, stderr: errors?.end },
      streams: { stdin: input?.stream, stdout: output?.stream, stderr: errors?.stream },
      closeEnds,
      destroy,
    };
  } catch (error) {
    closeEnds();
    destroy();
    throw error;
  }
}

interface OpenPipe {
  readonly end: Fd;
  readonly stream: net.Socket;
}

/** We read or write it; `end` is the process'. */
function openPipe(ours: 'read' | 'write'): OpenPipe {
  const [readEnd, writeEnd] = pipe();
  const reads = ours === 'read';
  const stream = new net.Socket({ fd: reads ? readEnd : writeEnd, readable: reads, writable: !reads });
  // Whoever uses it listens too; a process that does not read its input is no mistake of ours.
  stream.on('error', () => undefined);
  return { end: reads ? writeEnd : readEnd, stream };
}
