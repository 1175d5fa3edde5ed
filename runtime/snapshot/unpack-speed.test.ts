import { expect } from 'chai';
import { randomBytes } from 'node:crypto';
import { constants, createReadStream, createWriteStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { z } from 'zod';
import { tarEntry } from './tar.fixture.js';
import { isRoot, makePlace, unpackerPath } from './unpack.fixture.js';
import { runUnpacker } from './unpacker.js';

const FILES = 6000;
const TARGET_MS = 2500;

/** Content that gzip makes about a third of, as it does of programs: words, and bytes that nothing makes smaller. */
function compressible(): Buffer {
  const noise = randomBytes(4 * 1024 * 1024);
  const words = Buffer.from(Array.from({ length: 64 }, (_, i) => `${Math.sin(i)} `).join(''));
  const pieces: Buffer[] = [];
  for (let at = 0; at + 600 < noise.length; at += 600) pieces.push(noise.subarray(at, at + 600), words);
  return Buffer.concat(pieces);
}

function* layer(): Iterable<Buffer> {
  const content = compressible();
  for (let i = 0; i < FILES; i += 1) {
    const at = (i * 7919) % (content.length - 260_000);
    yield tarEntry({
      path: `d${i % 60}/f${i}`,
      content: content.subarray(at, at + 20_000 + ((i * 104729) % 216_000)),
    });
  }
  yield Buffer.alloc(1024);
}

describe('speed of podwright-unpack', function () {
  this.timeout(120_000);

  it(`unpacks a gzip layer of ${FILES} files in ${TARGET_MS} ms`, async function () {
    if (!isRoot || process.env['SPEED'] !== '1') {
      console.log('      needs root and SPEED=1 (a quiet machine)');
      this.skip();
    }
    const place = await makePlace();
    try {
      const file = path.join(place.directory, 'layer.tar.gz');
      await pipeline(Readable.from(layer()), createGzip({ level: 4 }), createWriteStream(file));
      const { size } = await stat(file);
      const handle = await open(place.root, constants.O_RDONLY | constants.O_DIRECTORY);
      const start = performance.now();
      const args = ['extract', '--overlay'];
      const input = createReadStream(file, { highWaterMark: 256 * 1024 });
      const schema = z.object({ ok: z.literal(true), bytes: z.number() });
      const run = { unpackerPath, arguments: args, directoryFd: handle.fd, input };
      const { bytes } = await runUnpacker(run, schema);
      const ms = performance.now() - start;
      await handle.close();
      const mib = (count: number): string => (count / 2 ** 20).toFixed(0);
      console.log(`      ${mib(size)} MiB gzip, ${mib(bytes)} MiB unpacked: ${ms.toFixed(0)} ms`);
      expect(ms).to.be.lessThan(TARGET_MS);
    } finally {
      await place.remove();
    }
  });
});
