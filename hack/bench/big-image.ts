import { spawn } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { access, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import path from 'node:path';
import { createHash } from 'node:crypto';
import { pack, type Pack } from 'tar-stream';
import { buildImage, layerFromFile, type BuiltImage } from '../../e2e/fixtures/image-builder.js';
import { cache } from '../../e2e/places.js';

const FILES = 6000;
const FILE_BYTES = 128 * 1024;
/** A third of every file is noise, the rest text: 768 MB of tar become about 240 MB of gzip. */
const NOISE_BYTES = 39 * 1024;

/** The image of 240 MB that pulls are measured with: made once, kept in the cache. */
export async function buildBigImage(): Promise<BuiltImage> {
  const directory = path.join(cache, 'bench');
  const file = path.join(directory, 'big-layer.tar.gz');
  const digest = path.join(directory, 'big-layer.diffid');
  const present = await access(digest).then(
    () => true,
    () => false,
  );
  if (!present) await makeLayer(directory, file, digest);
  const layer = await layerFromFile(file, {
    compression: 'gzip',
    diffId: (await readFile(digest, 'utf8')).trim(),
  });
  return buildImage({ layers: [layer], config: { Cmd: ['sh'] } });
}

async function makeLayer(directory: string, file: string, digestFile: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  const archive = pack();
  const hash = createHash('sha256');
  const gzip = spawn('gzip', ['-6'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const out = createWriteStream(`${file}.partial`);
  gzip.stdout.pipe(out);
  const filled = fill(archive);
  for await (const chunk of archive as AsyncIterable<Buffer>) {
    hash.update(chunk);
    if (!gzip.stdin.write(chunk)) await once(gzip.stdin, 'drain');
  }
  gzip.stdin.end();
  await filled;
  await once(out, 'finish');
  await rename(`${file}.partial`, file);
  await writeFile(digestFile, `sha256:${hash.digest('hex')}\n`);
}

/** Reproducible noise: AES in counter mode over zeros. */
async function fill(archive: Pack): Promise<void> {
  const noise = createCipheriv('aes-128-ctr', Buffer.alloc(16, 7), Buffer.alloc(16));
  const text = Buffer.from(
    'the quick brown fox jumps over the lazy dog, again and again and again\n'.repeat(2000),
  );
  for (let index = 0; index < FILES; index++) {
    const content = Buffer.concat([
      noise.update(Buffer.alloc(NOISE_BYTES)),
      text.subarray(0, FILE_BYTES - NOISE_BYTES),
    ]);
    const name = `usr/share/part-${Math.floor(index / 100)}/file-${index}`;
    await new Promise<void>((resolve, reject) => {
      archive.entry({ name, mode: 0o644 }, content, (error) => (error ? reject(error) : resolve()));
    });
  }
  archive.finalize();
}
