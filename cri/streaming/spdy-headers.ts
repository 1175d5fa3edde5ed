import { type Inflate, constants, createInflate } from 'node:zlib';
import { spdyDictionary } from './spdy-dictionary.js';
import { ProtocolError } from './spdy-frames.js';

export type StreamHeaders = ReadonlyMap<string, string>;

const MAX_BLOCK_BYTES = 64 * 1024;
const MAX_HEADERS = 64;

/** The header blocks a peer sends: one compressed stream per connection, each block flushed. */
export class HeaderDecoder {
  private readonly inflate: Inflate = createInflate({
    dictionary: spdyDictionary,
    flush: constants.Z_SYNC_FLUSH,
    finishFlush: constants.Z_SYNC_FLUSH,
  });
  private parts: Buffer[] = [];
  private size = 0;
  private failed: Error | undefined;

  constructor() {
    this.inflate.on('data', (part: Buffer) => {
      this.size += part.length;
      if (this.size <= MAX_BLOCK_BYTES) {
        this.parts.push(part);
        return;
      }
      // The write in progress still calls back as if it had worked.
      this.failed = new ProtocolError('a header block is too long');
      this.inflate.destroy();
    });
    this.inflate.on('error', (error) => {
      this.failed = error;
    });
  }

  /** One block at a time. @throws ProtocolError */
  async decode(block: Buffer): Promise<StreamHeaders> {
    this.parts = [];
    this.size = 0;
    await new Promise<void>((resolve, reject) => {
      const fail = (): void => {
        reject(new ProtocolError(`headers: ${this.failed?.message ?? 'the connection has ended'}`));
      };
      if (this.inflate.destroyed) {
        fail();
        return;
      }
      this.inflate.once('close', fail);
      this.inflate.write(block, () => {
        this.inflate.off('close', fail);
        if (this.failed === undefined) resolve();
        else fail();
      });
    });
    return parse(Buffer.concat(this.parts));
  }

  close(): void {
    this.inflate.destroy();
  }
}

/** A number of pairs, then name and value, each behind its length. */
function parse(block: Buffer): StreamHeaders {
  let at = 0;
  const number = (): number => {
    if (at + 4 > block.length) throw new ProtocolError('a header block is cut off');
    const value = block.readUInt32BE(at);
    at += 4;
    return value;
  };
  const text = (): string => {
    const end = number() + at;
    if (end > block.length) throw new ProtocolError('a header block is cut off');
    const value = block.toString('latin1', at, end);
    at = end;
    return value;
  };
  const count = number();
  if (count > MAX_HEADERS) throw new ProtocolError(`${count} headers`);
  const headers = new Map<string, string>();
  for (let index = 0; index < count; index++) headers.set(text().toLowerCase(), text());
  return headers;
}

/** Whether the compressed stream has begun is all the state that blocks without headers need. */
export class EmptyHeaderEncoder {
  private begun = false;

  /**
   * The number 0 in a stored block of zlib (RFC 1950, RFC 1951), whose first names the dictionary by its Adler-32. The
   * empty block behind it is the mark of a flush: Go's reader would wait for it.
   */
  next(): Buffer {
    const stored = Buffer.from([0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
    if (this.begun) return stored;
    this.begun = true;
    return Buffer.concat([Buffer.from([0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2]), stored]);
  }
}
