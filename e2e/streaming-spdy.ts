import { Duplex } from 'node:stream';

/** A client of SPDY/3.1, as far as Kubernetes uses it. */

const FIN = 1;
const SYN_STREAM = 1;
const RST_STREAM = 3;
const PING = 6;
const HIGH_WATER_BYTES = 256 * 1024;

export class SpdyClient {
  readonly #streams = new Map<number, Duplex>();
  #nextId = 1;
  #pending: Buffer = Buffer.alloc(0);
  #headersBegun = false;

  /** @param head what the transport has brought already */
  constructor(
    readonly transport: Duplex,
    head: Buffer = Buffer.alloc(0),
  ) {
    transport.on('error', () => undefined);
    transport.setMaxListeners(0);
    transport.on('data', (chunk: Buffer) => this.#take(chunk));
    transport.once('close', () => {
      for (const stream of this.#streams.values()) stream.destroy();
    });
    if (head.length > 0) this.#take(head);
  }

  get openStreams(): number {
    return this.#streams.size;
  }

  open(headers: Readonly<Record<string, string>>): Duplex {
    const id = this.#nextId;
    this.#nextId += 2;
    const stream = this.#newStream(id);
    this.#streams.set(id, stream);
    this.transport.write(
      control(SYN_STREAM, Buffer.concat([words(id, 0), Buffer.alloc(2), this.#block(headers)])),
    );
    return stream;
  }

  #newStream(id: number): Duplex {
    const stream = new Duplex({
      readableHighWaterMark: HIGH_WATER_BYTES,
      read: () => {
        this.transport.resume();
      },
      write: (chunk: Buffer, _encoding, done) => {
        this.transport.write(Buffer.concat([dataHeader(id, chunk.length, 0), chunk]), () => done());
      },
      final: (done) => {
        this.transport.write(dataHeader(id, 0, FIN), () => done());
      },
      destroy: (error, done) => {
        this.#streams.delete(id);
        done(error);
      },
    });
    stream.on('error', () => undefined);
    return stream;
  }

  /** Stored blocks of one zlib stream without the dictionary, which nobody has to use. */
  #block(headers: Readonly<Record<string, string>>): Buffer {
    const text = (value: string): Buffer =>
      Buffer.concat([words(Buffer.byteLength(value)), Buffer.from(value)]);
    const pairs = Object.entries(headers).map(([name, value]) => Buffer.concat([text(name), text(value)]));
    const content = Buffer.concat([words(pairs.length), ...pairs]);
    const stored = Buffer.alloc(5);
    stored.writeUInt16LE(content.length, 1);
    stored.writeUInt16LE(content.length ^ 0xffff, 3);
    const begin = this.#headersBegun ? [] : [Buffer.from([0x78, 0x01])];
    this.#headersBegun = true;
    return Buffer.concat([...begin, stored, content]);
  }

  #take(chunk: Buffer): void {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    for (;;) {
      if (this.#pending.length < 8) return;
      const length = this.#pending.readUIntBE(5, 3);
      if (this.#pending.length < 8 + length) return;
      const header = this.#pending.subarray(0, 8);
      const payload = this.#pending.subarray(8, 8 + length);
      this.#pending = this.#pending.subarray(8 + length);
      if ((header.readUInt8(0) & 0x80) === 0) this.#data(header, payload);
      else if (header.readUInt16BE(2) === RST_STREAM) this.#streams.get(payload.readUInt32BE(0))?.destroy();
      else if (header.readUInt16BE(2) === PING && payload.readUInt32BE(0) % 2 === 0)
        this.transport.write(control(PING, payload));
    }
  }

  #data(header: Buffer, payload: Buffer): void {
    const stream = this.#streams.get(header.readUInt32BE(0));
    if (stream === undefined) return;
    if (payload.length > 0 && !stream.push(payload)) this.transport.pause();
    if ((header.readUInt8(4) & FIN) !== 0) stream.push(null);
  }
}

export function control(type: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(0x8003, 0);
  header.writeUInt16BE(type, 2);
  header.writeUIntBE(payload.length, 5, 3);
  return Buffer.concat([header, payload]);
}

function dataHeader(id: number, length: number, flags: number): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32BE(id, 0);
  header.writeUInt8(flags, 4);
  header.writeUIntBE(length, 5, 3);
  return header;
}

function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => bytes.writeUInt32BE(value, 4 * index));
  return bytes;
}
