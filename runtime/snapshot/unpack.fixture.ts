import { constants } from 'node:fs';
import { mkdir, mkdtemp, open, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { RuntimeError } from '../errors.js';
import { runUnpacker } from './unpacker.js';

/** The program under test: the built one, or that of UNPACK (a sanitized build, native/unpack/test). */
export const unpackerPath =
  process.env['UNPACK'] ??
  fileURLToPath(new URL('../../../native/build/Release/podwright-unpack', import.meta.url));

export const isRoot = process.getuid?.() === 0;

/** A directory of the test's own: `root` is unpacked into, and nothing else in it may ever change. */
export interface Place {
  readonly directory: string;
  readonly root: string;
  remove(): Promise<void>;
}

export async function makePlace(): Promise<Place> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'podwright-unpack-'));
  const root = path.join(directory, 'root');
  await mkdir(root);
  return {
    directory,
    root,
    remove: () => rm(directory, { recursive: true, force: true }),
  };
}

const extractedSchema = z.object({
  ok: z.literal(true),
  diffId: z.string(),
  bytes: z.number(),
  entries: z.number(),
  ignoredXattrs: z.number(),
  opaqueRoot: z.boolean(),
  implied: z.array(z.string()),
});

export type Extraction = z.infer<typeof extractedSchema>;

export async function* inPieces(content: Buffer, size = 100_000): AsyncIterable<Uint8Array> {
  for (let at = 0; at < content.length; at += size) {
    yield content.subarray(at, at + size);
    await Promise.resolve();
  }
}

export async function extract(
  root: string,
  content: Buffer,
  options: readonly string[] = ['--overlay'],
): Promise<Extraction> {
  const handle = await open(root, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const run = {
      unpackerPath,
      arguments: ['extract', ...options],
      directoryFd: handle.fd,
      input: inPieces(content),
    };
    return await runUnpacker(run, extractedSchema);
  } finally {
    await handle.close();
  }
}

/** Extracts what must be refused, and returns why it was. */
export async function refusalOf(
  root: string,
  content: Buffer,
  options?: readonly string[],
): Promise<RuntimeError> {
  try {
    await extract(root, content, options);
  } catch (error) {
    if (error instanceof RuntimeError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

const packedSchema = z.object({
  ok: z.literal(true),
  diffId: z.string(),
  entries: z.number(),
  leftOut: z.number(),
});

/** Packs a directory and returns the tar. */
export async function pack(root: string, options: readonly string[] = ['--overlay']): Promise<Buffer> {
  const output = path.join(os.tmpdir(), `podwright-pack-${process.pid}-${process.hrtime.bigint()}`);
  const handle = await open(root, constants.O_RDONLY | constants.O_DIRECTORY);
  const file = await open(output, 'wx+');
  try {
    const run = { unpackerPath, arguments: ['pack', ...options], directoryFd: handle.fd, output: file.fd };
    await runUnpacker(run, packedSchema);
    return await readFile(output);
  } finally {
    await file.close();
    await handle.close();
    await rm(output);
  }
}
