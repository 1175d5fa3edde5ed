/** SPDY/3.1 on the wire: what a peer of the kubelet may send, and what we answer. */

export const controlTypes = {
  synStream: 1,
  synReply: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  headers: 8,
  windowUpdate: 9,
} as const;

export const FLAG_FIN = 1;
export const rstReasons = { refusedStream: 3, cancel: 5 } as const;

const VERSION = 3;
const HEADER_BYTES = 8;
/** A stream is opened by a few dozen bytes. */
const MAX_CONTROL_BYTES = 16 * 1024;

export type Frame =
  | { readonly kind: 'data'; readonly streamId: number; readonly bytes: Buffer; readonly fin: boolean }
  | { readonly kind: 'control'; readonly type: number; readonly flags: number; readonly payload: Buffer };

/** A peer that does not keep to the protocol. */
export class ProtocolError extends Error {}

/**
 * Cuts what arrives into frames. Data is handed on as it comes, in parts of a frame if need be: only control frames, which
 * are bounded, are ever collected.
 */
export class FrameReader {
  private pending: Buffer = Buffer.alloc(0);
  private data: { readonly streamId: number; readonly fin: boolean; left: number } | undefined;

  /** @throws ProtocolError */
  *push(chunk: Buffer): Generator<Frame, void, undefined> {
    this.pending = this.pending.length === 0 ? chunk : Buffer.concat([this.pending, chunk]);
    for (let frame = this.next(); frame !== undefined; frame = this.next()) yield frame;
  }

  private next(): Frame | undefined {
    if (this.data !== undefined) return this.nextData(this.data);
    if (this.pending.length < HEADER_BYTES) return undefined;
    const first = this.pending.readUInt32BE(0);
    const flags = this.pending.readUInt8(4);
    const length = this.pending.readUIntBE(5, 3);
    if (first >>> 31 === 0) {
      this.take(HEADER_BYTES);
      this.data = { streamId: first, fin: (flags & FLAG_FIN) !== 0, left: length };
      return this.nextData(this.data);
    }
    if (((first >>> 16) & 0x7fff) !== VERSION) throw new ProtocolError('the SPDY version is not 3');
    if (length > MAX_CONTROL_BYTES) throw new ProtocolError(`a control frame of ${length} bytes`);
    if (this.pending.length < HEADER_BYTES + length) return undefined;
    this.take(HEADER_BYTES);
    return { kind: 'control', type: first & 0xffff, flags, payload: this.take(length) };
  }

  private nextData(data: NonNullable<typeof this.data>): Frame | undefined {
    if (data.left > 0 && this.pending.length === 0) return undefined;
    const bytes = this.take(Math.min(data.left, this.pending.length));
    data.left -= bytes.length;
    if (data.left === 0) this.data = undefined;
    return { kind: 'data', streamId: data.streamId, bytes, fin: data.fin && data.left === 0 };
  }

  private take(length: number): Buffer {
    const taken = this.pending.subarray(0, length);
    this.pending = this.pending.subarray(length);
    return taken;
  }
}

export function controlFrame(type: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(0x8000 | VERSION, 0);
  header.writeUInt16BE(type, 2);
  header.writeUIntBE(payload.length, 5, 3);
  return Buffer.concat([header, payload]);
}

export function dataHeader(streamId: number, length: number, fin: boolean): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(streamId, 0);
  header.writeUInt8(fin ? FLAG_FIN : 0, 4);
  header.writeUIntBE(length, 5, 3);
  return header;
}

/** Unsigned 32-bit numbers, as most control frames consist of. */
export function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => bytes.writeUInt32BE(value, 4 * index));
  return bytes;
}
