import http2, { constants } from 'node:http2';
import net from 'node:net';
import type { Method } from '../../e2e/cri-client.js';

/**
 * Unary gRPC over one HTTP/2 connection, and nothing else: what is measured is the runtime, not a client library that
 * takes as long as a call. Requests are encoded by the caller, before the clock starts; answers are decoded only where
 * somebody reads them.
 */
export class BareClient implements Disposable {
  readonly #session: http2.ClientHttp2Session;

  /** @param socket path of the server's unix socket */
  constructor(socket: string) {
    this.#session = http2.connect('http://localhost', { createConnection: () => net.connect(socket) });
  }

  /** Resolves with the answer's message once the call ended well; rejects with the server's sentence. */
  call(path: string, message: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const stream = this.#session.request({
        [constants.HTTP2_HEADER_METHOD]: 'POST',
        [constants.HTTP2_HEADER_PATH]: path,
        [constants.HTTP2_HEADER_TE]: 'trailers',
        [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
      });
      const chunks: Buffer[] = [];
      let ending: http2.IncomingHttpHeaders = {};
      const keep = (headers: http2.IncomingHttpHeaders): void => {
        if (headers['grpc-status'] !== undefined) ending = headers;
      };
      stream.on('response', keep);
      stream.on('trailers', keep);
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('error', reject);
      stream.on('end', () => {
        if (ending['grpc-status'] === '0')
          resolve(chunks.length === 1 ? unframe(chunks[0]) : unframe(Buffer.concat(chunks)));
        else
          reject(new Error(`${path}: ${decodeURIComponent(String(ending['grpc-message'] ?? 'no status'))}`));
      });
      stream.end(frame(message));
    });
  }

  /** A call with an encoded request, whose answer is read. */
  async send<Response>(method: Method<never, Response>, message: Buffer): Promise<Response> {
    return method.responseDeserialize(await this.call(method.path, message));
  }

  /** The same where the request is small. */
  async ask<Request, Response>(method: Method<Request, Response>, request: Request): Promise<Response> {
    return this.send(method, method.requestSerialize(request));
  }

  [Symbol.dispose](): void {
    this.#session.close();
  }
}

/** One byte for the compression (none), four for the length. */
const PREFIX_BYTES = 5;

function frame(message: Buffer): Buffer {
  const framed = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  framed.writeUInt8(0, 0);
  framed.writeUInt32BE(message.length, 1);
  message.copy(framed, PREFIX_BYTES);
  return framed;
}

function unframe(bytes: Buffer = Buffer.alloc(0)): Buffer {
  if (bytes.length < PREFIX_BYTES || bytes.length !== PREFIX_BYTES + bytes.readUInt32BE(1))
    throw new Error('the answer is not one message');
  return bytes.subarray(PREFIX_BYTES);
}
