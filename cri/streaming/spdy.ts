import { Duplex } from 'node:stream';
import {
  FLAG_FIN,
  FrameReader,
  ProtocolError,
  controlFrame,
  controlTypes,
  dataHeader,
  rstReasons,
  words,
  type Frame,
} from './spdy-frames.js';
import { EmptyHeaderEncoder, HeaderDecoder, type StreamHeaders } from './spdy-headers.js';

/** Port forwarding opens two streams per connection. */
const MAX_STREAMS = 1024;
/** What one stream may hold before the whole connection waits for its reader. */
const STREAM_BUFFER_BYTES = 1024 * 1024;
/** A Go client copies 32 KiB at a time; frames may be longer. */
const MAX_DATA_BYTES = 64 * 1024;
const CLOSE_GRACE_MS = 5_000;
const PROBE_INTERVAL_MS = 2_000;

export interface SpdyTransport {
  readonly transport: Duplex;
  /** Called whenever bytes of a stream move, in either direction. */
  readonly onActivity: () => void;
}

export interface SpdyConnection {
  /** Aborted when the transport is gone. */
  readonly ended: AbortSignal;
  /** Sends what is queued, then closes; a peer that does not end the transport in time loses it. */
  close(): void;
  destroy(): void;
}

/**
 * The server's side of SPDY/3.1 as the Kubernetes clients speak it: streams opened by the client, headers only when a
 * stream opens.
 *
 * Two facts about those clients: their streams carry none of SPDY's `:method` headers, and they neither send nor heed
 * WINDOW_UPDATE. So there is no flow control but that of the transport in either direction.
 *
 * `onStream` gets each stream as a Duplex: its end is the client's half-close, ending it is ours.
 */
export function serveSpdy(
  transport: SpdyTransport,
  onStream: (headers: StreamHeaders, stream: Duplex) => void,
): SpdyConnection {
  return new Connection(transport, onStream);
}

interface OpenStream {
  readonly duplex: Duplex;
  /** The client has half-closed. */
  remoteEnded: boolean;
}

class Connection implements SpdyConnection {
  private readonly abort = new AbortController();
  private readonly streams = new Map<number, OpenStream>();
  private readonly reader = new FrameReader();
  private readonly decoder = new HeaderDecoder();
  private readonly encoder = new EmptyHeaderEncoder();
  /** Resolve when the stream they wait for is read, or gone. */
  private readonly waiting = new Map<number, () => void>();
  private readonly transport: Duplex;
  private readonly onActivity: () => void;
  private lastStreamId = 0;
  private lastPingId = 0;
  private closing = false;

  constructor(
    { transport, onActivity }: SpdyTransport,
    private readonly onStream: (headers: StreamHeaders, stream: Duplex) => void,
  ) {
    this.transport = transport;
    this.onActivity = onActivity;
    transport.on('error', () => undefined);
    transport.setMaxListeners(0);
    transport.once('close', () => {
      this.tearDown();
    });
    // It may have closed before there was anybody to tell.
    if (transport.closed) this.tearDown();
    else void this.receive();
  }

  get ended(): AbortSignal {
    return this.abort.signal;
  }

  close(): void {
    if (this.closing) return;
    this.closing = true;
    this.send(controlFrame(controlTypes.goAway, words(this.lastStreamId, 0)));
    this.transport.end(() => {
      const timer = setTimeout(() => this.transport.destroy(), CLOSE_GRACE_MS);
      this.transport.once('close', () => {
        clearTimeout(timer);
      });
    });
    // What still arrives is read and dropped: unread bytes would turn the end into a reset.
    for (const { duplex } of this.streams.values()) duplex.resume();
  }

  destroy(): void {
    this.transport.destroy();
  }

  private tearDown(): void {
    this.abort.abort();
    this.decoder.close();
    for (const { duplex } of this.streams.values()) duplex.destroy();
    this.streams.clear();
    for (const resume of this.waiting.values()) resume();
    this.waiting.clear();
  }

  // ---- receiving ----

  private async receive(): Promise<void> {
    try {
      for await (const chunk of this.transport) {
        for (const frame of this.reader.push(chunk as Buffer)) await this.take(frame);
      }
      // The client has left: nothing that we still say is heard.
      this.transport.destroy();
    } catch {
      // Broken transports and peers that break the protocol end alike.
      this.transport.destroy();
    }
  }

  private async take(frame: Frame): Promise<void> {
    if (frame.kind === 'data') {
      await this.takeData(frame.streamId, frame.bytes, frame.fin);
      return;
    }
    const { payload } = frame;
    switch (frame.type) {
      case controlTypes.synStream:
        await this.open(payload, frame.flags);
        return;
      case controlTypes.headers:
        // Decoded for the sake of the ones that follow.
        await this.decoder.decode(payload.subarray(4));
        return;
      case controlTypes.rstStream:
        this.reset(wordAt(payload, 0));
        return;
      case controlTypes.ping:
        this.answerPing(wordAt(payload, 0));
        return;
      case controlTypes.settings:
      case controlTypes.goAway:
      case controlTypes.windowUpdate:
        return;
      default:
        throw new ProtocolError(`a frame of type ${frame.type}`);
    }
  }

  private async open(payload: Buffer, flags: number): Promise<void> {
    const streamId = wordAt(payload, 0) & 0x7fffffff;
    if (payload.length < 10) throw new ProtocolError('a short SYN_STREAM');
    const headers = await this.decoder.decode(payload.subarray(10));
    if (this.closing) return;
    if (streamId % 2 === 0 || streamId <= this.lastStreamId) throw new ProtocolError(`stream ${streamId}`);
    this.lastStreamId = streamId;
    if (this.streams.size >= MAX_STREAMS) {
      this.send(controlFrame(controlTypes.rstStream, words(streamId, rstReasons.refusedStream)));
      return;
    }
    const stream: OpenStream = { duplex: this.newDuplex(streamId), remoteEnded: (flags & FLAG_FIN) !== 0 };
    this.streams.set(streamId, stream);
    if (stream.remoteEnded) stream.duplex.push(null);
    this.send(controlFrame(controlTypes.synReply, Buffer.concat([words(streamId), this.encoder.next()])));
    this.onStream(headers, stream.duplex);
  }

  private async takeData(streamId: number, bytes: Buffer, fin: boolean): Promise<void> {
    const stream = this.streams.get(streamId);
    if (stream === undefined) {
      // Data that was on its way when we closed the stream.
      if (streamId > this.lastStreamId || streamId === 0)
        throw new ProtocolError(`data of stream ${streamId}`);
      return;
    }
    if (stream.remoteEnded) throw new ProtocolError(`data behind the end of stream ${streamId}`);
    this.onActivity();
    if (bytes.length > 0) stream.duplex.push(bytes);
    if (fin) {
      stream.remoteEnded = true;
      stream.duplex.push(null);
    }
    if (stream.duplex.readableLength > STREAM_BUFFER_BYTES && !this.closing) await this.untilRead(streamId);
  }

  /** Nothing is read meanwhile: that the client has left shows only when something cannot be sent to it. */
  private async untilRead(streamId: number): Promise<void> {
    const probe = setInterval(() => {
      this.ping();
    }, PROBE_INTERVAL_MS);
    await new Promise<void>((resolve) => {
      this.waiting.set(streamId, resolve);
    });
    clearInterval(probe);
  }

  /** Ours have even numbers. Not behind what the client has not taken yet: that is told to have failed as well. */
  private ping(): void {
    if (this.transport.writableNeedDrain) return;
    this.lastPingId = (this.lastPingId + 2) % 0x1_0000_0000;
    this.send(controlFrame(controlTypes.ping, words(this.lastPingId)));
  }

  /** The client's have odd numbers; others are answers to ours. */
  private answerPing(id: number): void {
    if (id % 2 === 1) this.send(controlFrame(controlTypes.ping, words(id)));
  }

  private reset(streamId: number): void {
    this.streams.get(streamId)?.duplex.destroy();
  }

  private resume(streamId: number): void {
    this.waiting.get(streamId)?.();
    this.waiting.delete(streamId);
  }

  // ---- sending ----

  private newDuplex(streamId: number): Duplex {
    let ended = false;
    const duplex = new Duplex({
      allowHalfOpen: true,
      autoDestroy: true,
      readableHighWaterMark: STREAM_BUFFER_BYTES,
      read: () => {
        this.resume(streamId);
      },
      write: (chunk: Buffer, _encoding, done) => {
        this.sendData(streamId, chunk, done);
      },
      final: (done) => {
        ended = true;
        this.send(dataHeader(streamId, 0, true));
        done();
      },
      destroy: (error, done) => {
        if (!ended || this.streams.get(streamId)?.remoteEnded === false) {
          this.send(controlFrame(controlTypes.rstStream, words(streamId, rstReasons.cancel)));
        }
        this.streams.delete(streamId);
        this.resume(streamId);
        done(error);
      },
    });
    duplex.on('error', () => undefined);
    return duplex;
  }

  /** Whole frames only, so that streams share the transport fairly. */
  private sendData(streamId: number, chunk: Buffer, done: () => void): void {
    this.onActivity();
    let writable = true;
    for (let at = 0; at < chunk.length; at += MAX_DATA_BYTES) {
      const part = chunk.subarray(at, at + MAX_DATA_BYTES);
      this.transport.cork();
      this.send(dataHeader(streamId, part.length, false));
      writable = this.send(part);
      this.transport.uncork();
    }
    if (writable) {
      done();
      return;
    }
    const go = (): void => {
      this.transport.off('drain', go);
      this.transport.off('close', go);
      done();
    };
    this.transport.on('drain', go);
    this.transport.on('close', go);
  }

  private send(bytes: Buffer): boolean {
    if (this.transport.destroyed || this.transport.writableEnded) return true;
    return this.transport.write(bytes);
  }
}

function wordAt(payload: Buffer, at: number): number {
  if (payload.length < at + 4) throw new ProtocolError('a short control frame');
  return payload.readUInt32BE(at);
}
