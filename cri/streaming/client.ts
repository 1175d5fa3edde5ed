import type { Duplex, Readable, Writable } from 'node:stream';

/** What an exec or attach asks for. */
export interface CommandRequest {
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** The client of an exec or attach, whatever protocol it speaks. */
export interface CommandClient {
  readonly stdin: Readable | undefined;
  readonly stdout: Writable | undefined;
  readonly stderr: Writable | undefined;
  /** Sizes of its terminal, as JSON. */
  readonly resize: Readable | undefined;
  /** How the command ended, or why it could not run; the last word. */
  readonly error: Writable;
  /** Whether `error` takes a Status object; else it is text. */
  readonly takesStatus: boolean;
  /** Aborted when it is gone. */
  readonly ended: AbortSignal;
  /** Sends what is queued first. */
  close(): void;
}

/** A connection a client wants to a port of the pod. */
export interface ForwardRequest {
  readonly port: number;
  readonly data: Duplex;
  readonly error: Writable;
  readonly ended: AbortSignal;
}
