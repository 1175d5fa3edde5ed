import { once } from 'node:events';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import { constants, deflateSync } from 'node:zlib';
import { expect } from 'chai';
import fc from 'fast-check';
import { serveSpdy } from './spdy.js';
import { spdyDictionary } from './spdy-dictionary.js';
import { FrameReader, ProtocolError, controlFrame, controlTypes, dataHeader, words } from './spdy-frames.js';
import { EmptyHeaderEncoder, HeaderDecoder } from './spdy-headers.js';

/** The first header block of a connection. */
function headerBlock(headers: Readonly<Record<string, string>>): Buffer {
  const text = (value: string): Buffer => Buffer.concat([words(value.length), Buffer.from(value)]);
  const pairs = Object.entries(headers).flatMap(([name, value]) => [text(name), text(value)]);
  return deflateSync(Buffer.concat([words(pairs.length / 2), ...pairs]), {
    dictionary: spdyDictionary,
    finishFlush: constants.Z_SYNC_FLUSH,
  });
}

function synStream(streamId: number, headers: Readonly<Record<string, string>>): Buffer {
  const payload = [words(streamId, 0), Buffer.from([0, 0]), headerBlock(headers)];
  return controlFrame(controlTypes.synStream, Buffer.concat(payload));
}

async function connected(): Promise<{ readonly client: net.Socket; readonly server: net.Socket }> {
  const listener = net.createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const client = net.connect((listener.address() as net.AddressInfo).port, '127.0.0.1');
  const [server] = (await once(listener, 'connection')) as [net.Socket];
  listener.close();
  client.on('error', () => undefined);
  return { client, server };
}

describe('SPDY', () => {
  it('cuts frames wherever the chunks end', () => {
    const bytes = Buffer.concat([
      synStream(1, { streamtype: 'stdin' }),
      dataHeader(1, 5, true),
      Buffer.from('hello'),
      controlFrame(controlTypes.ping, words(7)),
    ]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (sizes) => {
        const reader = new FrameReader();
        let data = '';
        const types: number[] = [];
        let ends = 0;
        for (let at = 0, step = 0; at < bytes.length; step++) {
          const size = sizes[step % sizes.length] ?? 1;
          for (const frame of reader.push(bytes.subarray(at, at + size))) {
            if (frame.kind === 'control') types.push(frame.type);
            else {
              data += frame.bytes.toString();
              ends += frame.fin ? 1 : 0;
            }
          }
          at += size;
        }
        expect({ data, ends, types }).to.deep.equal({ data: 'hello', ends: 1, types: [1, 6] });
      }),
    );
  });

  it('refuses other versions and long control frames', () => {
    const frame = controlFrame(controlTypes.ping, Buffer.alloc(20_000));
    expect(() => [...new FrameReader().push(frame)]).to.throw(ProtocolError);
    const http = Buffer.from('\x80\x02\0\0\0\0\0\0', 'latin1');
    expect(() => [...new FrameReader().push(http)]).to.throw(ProtocolError);
  });

  it('reads its own empty headers, one after the other', async () => {
    const decoder = new HeaderDecoder();
    const encoder = new EmptyHeaderEncoder();
    for (let block = 0; block < 3; block++) expect((await decoder.decode(encoder.next())).size).to.equal(0);
    decoder.close();
  });

  it('refuses headers that unpack to very much', async () => {
    const decoder = new HeaderDecoder();
    const bomb = deflateSync(Buffer.alloc(10_000_000), { dictionary: spdyDictionary });
    const refused = await decoder.decode(bomb).catch((error: unknown) => error);
    expect(refused).to.be.instanceOf(ProtocolError);
  });

  it('carries a stream to its half-closes and ends with the client', async () => {
    const { client, server } = await connected();
    const streams: Duplex[] = [];
    const connection = serveSpdy({ transport: server, onActivity: () => undefined }, (headers, stream) => {
      expect(headers.get('streamtype')).to.equal('stdin');
      streams.push(stream);
      stream.pipe(stream);
    });
    client.write(synStream(1, { streamtype: 'stdin' }));
    client.write(Buffer.concat([dataHeader(1, 3, true), Buffer.from('abc')]));
    let received = Buffer.alloc(0);
    const end = dataHeader(1, 0, true);
    while (!received.subarray(-8).equals(end)) {
      const [chunk] = (await once(client, 'data')) as [Buffer];
      received = Buffer.concat([received, chunk]);
    }
    expect(received.includes(Buffer.concat([dataHeader(1, 3, false), Buffer.from('abc')]))).to.equal(true);
    client.end();
    if (!connection.ended.aborted) await once(connection.ended, 'abort');
    expect(streams.map((stream) => stream.destroyed)).to.deep.equal([true]);
    client.destroy();
  });

  it('ends the connection for whatever else comes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        const { client, server } = await connected();
        const connection = serveSpdy({ transport: server, onActivity: () => undefined }, (_headers, stream) =>
          stream.resume(),
        );
        client.end(bytes);
        if (!connection.ended.aborted) await once(connection.ended, 'abort');
        client.destroy();
      }),
      { numRuns: 50 },
    );
  });
});
