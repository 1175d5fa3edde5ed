import { readSync } from 'node:fs';
import net from 'node:net';
import { pipe, type Fd } from './index.js';

/** Collects what a process writes into a pipe, up to a bound; what comes after it is read and dropped. */
export interface Capture {
  /** The process' end. The caller closes it once it is handed on. */
  readonly writeEnd: Fd;
  /** Takes what the pipe holds at this moment and closes it, whoever else still has it open. */
  finish(): Buffer;
}

const READ_BYTES = 64 * 1024;

export function openCapture(maxBytes: number): Capture {
  const [readEnd, writeEnd] = pipe();
  const chunks: Buffer[] = [];
  let size = 0;
  const keep = (chunk: Buffer): void => {
    if (size >= maxBytes) return;
    const kept = chunk.subarray(0, maxBytes - size);
    chunks.push(kept);
    size += kept.length;
  };
  const socket = new net.Socket({ fd: readEnd, readable: true, writable: false });
  let open = true;
  socket.on('data', keep);
  socket.on('error', () => undefined);
  const ended = (): void => {
    open = false;
  };
  socket.on('end', ended);
  socket.on('close', ended);
  return {
    writeEnd,
    finish: () => {
      if (open) {
        drain(readEnd, keep, maxBytes);
        socket.destroy();
      }
      return Buffer.concat(chunks, size);
    },
  };
}

/** libuv made the descriptor non-blocking, so these reads never wait. Bounded: a background writer could feed it for ever. */
function drain(fd: Fd, keep: (chunk: Buffer) => void, maxBytes: number): void {
  for (let taken = 0; taken <= maxBytes;) {
    const chunk = Buffer.allocUnsafe(READ_BYTES);
    try {
      const bytes = readSync(fd, chunk);
      if (bytes === 0) return;
      keep(chunk.subarray(0, bytes));
      taken += bytes;
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'EAGAIN') return;
      throw error;
    }
  }
}
