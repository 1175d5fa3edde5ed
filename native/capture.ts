import { readSync } from 'node:fs';
import net from 'node:net';
import { closeFd, pipe, setNonBlocking, type Fd } from './index.js';

/** Collects what a process writes into a pipe, up to a bound; what comes after it is read and dropped. */
export interface Capture {
  /** The process' end. The caller closes it once it is handed on. */
  readonly writeEnd: Fd;
  /** Takes what the pipe holds at this moment and closes it, whoever else still has it open. */
  finish(): Buffer;
}

/** What one command writes usually fits into the pipe: nobody waits for it until it has run for so long. */
const LISTEN_AFTER_MS = 5;
const READ_BYTES = 64 * 1024;
/** What is read at once is copied out at once. */
const scratch = Buffer.allocUnsafeSlow(READ_BYTES);

export function openCapture(maxBytes: number): Capture {
  const [readEnd, writeEnd] = pipe();
  setNonBlocking(readEnd);
  const chunks: Buffer[] = [];
  let size = 0;
  const keep = (chunk: Buffer): void => {
    if (size >= maxBytes) return;
    const kept = chunk.subarray(0, maxBytes - size);
    chunks.push(kept);
    size += kept.length;
  };
  let socket: net.Socket | undefined;
  let open = true;
  const timer = setTimeout(() => {
    socket = listen(readEnd, keep, () => {
      open = false;
    });
  }, LISTEN_AFTER_MS);
  return {
    writeEnd,
    finish: () => {
      clearTimeout(timer);
      if (open) {
        open = false;
        drain(readEnd, keep, maxBytes);
        if (socket === undefined) closeFd(readEnd);
        else socket.destroy();
      }
      return Buffer.concat(chunks, size);
    },
  };
}

function listen(fd: Fd, keep: (chunk: Buffer) => void, ended: () => void): net.Socket {
  const socket = new net.Socket({ fd, readable: true, writable: false });
  socket.on('data', keep);
  socket.on('error', () => undefined);
  socket.on('end', ended);
  socket.on('close', ended);
  return socket;
}

/** The descriptor is non-blocking, so these reads never wait. Bounded: a background writer could feed it for ever. */
function drain(fd: Fd, keep: (chunk: Buffer) => void, maxBytes: number): void {
  for (let taken = 0; taken <= maxBytes;) {
    try {
      const bytes = readSync(fd, scratch);
      if (bytes === 0) return;
      keep(Buffer.from(scratch.subarray(0, bytes)));
      taken += bytes;
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'EAGAIN') return;
      throw error;
    }
  }
}
