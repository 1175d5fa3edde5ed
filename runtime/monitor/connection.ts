import { type Fd, type Packet, type SeqpacketHandlers, type SeqpacketSocket } from '../../native/index.js';
import { RuntimeError, isErrno, messageOf } from '../errors.js';
import { failureOf } from './failure.js';
import { closeFds } from './descriptors.js';
import { decodeFrame, encodeFrame, type Frame, type FrameType, type FrameValues } from './frames.js';

/** What a monitor says unasked. Each answers one frame; `onClose` is the last call. */
export interface ConnectionHandlers {
  readonly onHello: (values: FrameValues) => void;
  readonly onExited: (values: FrameValues) => void;
  readonly onLog: (level: number, message: string) => void;
  readonly onClose: () => void;
}

export interface Answer {
  readonly values: FrameValues;
  /** The receiver's to close. */
  readonly fds: readonly Fd[];
  /** The end of what an EXEC started. */
  readonly exited: Promise<ExecExit>;
  /** Kills that; nothing happens if it has ended. */
  readonly kill: () => Promise<void>;
}

export interface ExecExit {
  readonly code: number;
  readonly signal: number;
}

interface Waiting<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

const never = new Promise<ExecExit>(() => undefined);

/** One connection to a monitor: matches answers to requests. What is unanswered when it ends is Unavailable. */
export class MonitorConnection {
  readonly #socket: SeqpacketSocket;
  readonly #handlers: ConnectionHandlers;
  readonly #asked = new Map<number, Waiting<Answer>>();
  readonly #execs = new Map<number, Waiting<ExecExit>>();
  #nextRequest = 1;
  #open = true;

  constructor(connect: (handlers: SeqpacketHandlers) => SeqpacketSocket, handlers: ConnectionHandlers) {
    this.#handlers = handlers;
    this.#socket = connect({
      onPacket: (packet) => {
        this.#receive(packet);
      },
      onClose: () => {
        this.#end();
        handlers.onClose();
      },
    });
  }

  /** The descriptors are copied to the monitor: the caller's stay open. @throws as the monitor answers */
  ask(type: FrameType, values: FrameValues = {}, fds: readonly Fd[] = []): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const request = this.#newRequest();
      this.#send(encodeFrame(type, request, values), fds);
      this.#asked.set(request, { resolve, reject });
    });
  }

  /** The end of the other side may be known here before the loop tells it. */
  #send(frame: Buffer, fds: readonly Fd[] = []): void {
    if (!this.#open) throw new RuntimeError('Unavailable', 'the monitor has ended');
    try {
      this.#socket.send(frame, fds);
    } catch (error) {
      if (!isErrno(error, 'EPIPE', 'ECONNRESET')) throw error;
      throw new RuntimeError('Unavailable', 'the monitor has ended', { cause: error });
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#socket.close();
    this.#end();
  }

  #newRequest(): number {
    const request = this.#nextRequest;
    this.#nextRequest = request >= 0xffff_ffff ? 1 : request + 1;
    return this.#asked.has(request) || this.#execs.has(request) ? this.#newRequest() : request;
  }

  #end(): void {
    this.#open = false;
    const error = new RuntimeError('Unavailable', 'the connection to the monitor has ended');
    for (const { reject } of this.#asked.values()) reject(error);
    for (const { reject } of this.#execs.values()) reject(error);
    this.#asked.clear();
    this.#execs.clear();
  }

  #receive({ data, fds }: Packet): void {
    try {
      const frame = decodeFrame(data);
      if (!this.#dispatch(frame, fds)) closeFds(fds);
    } catch (error) {
      closeFds(fds);
      this.#handlers.onLog(2, messageOf(error));
    }
  }

  /** Whether somebody took the descriptors. */
  #dispatch({ type, request, values }: Frame, fds: readonly Fd[]): boolean {
    switch (type) {
      case 'hello':
        this.#handlers.onHello(values);
        return false;
      case 'exited':
        this.#handlers.onExited(values);
        return false;
      case 'log':
        this.#handlers.onLog(values.level ?? 0, values.message ?? '');
        return false;
      case 'exec-exited':
        take(this.#execs, request)?.resolve({ code: values.exitCode ?? 255, signal: values.exitSignal ?? 0 });
        return false;
      case 'failed':
        take(this.#asked, request)?.reject(failureOf(values));
        return false;
      case 'exec-started':
        return this.#answer(request, { values, fds, ...this.#follow(request) });
      default:
        return this.#answer(request, { values, fds, exited: never, kill: async () => undefined });
    }
  }

  #answer(request: number, answer: Answer): boolean {
    const asked = take(this.#asked, request);
    asked?.resolve(answer);
    return asked !== undefined;
  }

  /** Registered before the next packet, which may be its end. */
  #follow(request: number): Pick<Answer, 'exited' | 'kill'> {
    const exited = new Promise<ExecExit>((resolve, reject) => {
      this.#execs.set(request, { resolve, reject });
    });
    // Whoever gave up on the command does not wait for its end.
    exited.catch(() => undefined);
    const kill = async (): Promise<void> => {
      if (this.#execs.has(request)) this.#send(encodeFrame('exec-kill', request));
    };
    return { exited, kill };
  }
}

function take<T>(map: Map<number, T>, key: number): T | undefined {
  const value = map.get(key);
  map.delete(key);
  return value;
}
