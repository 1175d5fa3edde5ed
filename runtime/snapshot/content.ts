import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { z } from 'zod';
import { closeFd, pipe, type Fd } from '../../native/index.js';
import type { DiffResult } from './types.js';
import { runUnpacker } from './unpacker.js';

/** What the runs below have in common. */
export interface ContentRun {
  readonly unpackerPath: string;
  readonly limits: { readonly bytes: number; readonly entries: number };
  readonly signal?: AbortSignal | undefined;
}

const packedSchema = z.object({
  ok: z.literal(true),
  diffId: z.string(),
  bytes: z.number().int(),
  entries: z.number().int(),
});

const extractedSchema = z.object({ ok: z.literal(true) });

/** Writes a writable layer as an OCI layer. */
export async function writeDiff(
  run: ContentRun,
  upper: string,
  to: { readonly fd: Fd; readonly compression: 'gzip' | 'none' },
): Promise<DiffResult> {
  const args = ['pack', '--overlay', ...(to.compression === 'gzip' ? ['--gzip'] : [])];
  return withDirectory(upper, async (directoryFd) => {
    const packed = await runUnpacker({ ...run, arguments: args, directoryFd, output: to.fd }, packedSchema);
    return { diffId: packed.diffId, bytes: BigInt(packed.bytes), entries: packed.entries };
  });
}

/** Makes the files of an OCI layer in a writable layer. */
export async function applyDiff(
  run: ContentRun,
  upper: string,
  source: AsyncIterable<Uint8Array>,
): Promise<void> {
  await extract(run, upper, source, ['--overlay']);
}

/** Copies a tree with everything that a tar can express; what is in the target already stays. */
export async function copyTree(run: ContentRun, sourceFd: Fd, target: string): Promise<void> {
  const [read, write] = pipe();
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, ...(run.signal === undefined ? [] : [run.signal])]);
  const pack = { ...run, signal, arguments: ['pack'], directoryFd: sourceFd, output: write };
  const packing = runUnpacker(pack, packedSchema).catch((error: unknown) => {
    stop.abort(error);
    throw error;
  });
  closeFd(write);
  const extracting = extract({ ...run, signal }, target, read, []).catch((error: unknown) => {
    stop.abort(error);
    throw error;
  });
  const results = await Promise.allSettled([packing, extracting]);
  closeFd(read);
  signal.throwIfAborted();
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

async function extract(
  run: ContentRun,
  directory: string,
  input: AsyncIterable<Uint8Array> | Fd,
  options: readonly string[],
): Promise<void> {
  const { limits } = run;
  const args = ['extract', ...options, `--max-bytes=${limits.bytes}`, `--max-entries=${limits.entries}`];
  await withDirectory(directory, (directoryFd) =>
    runUnpacker({ ...run, arguments: args, directoryFd, input }, extractedSchema),
  );
}

async function withDirectory<T>(directory: string, use: (fd: Fd) => Promise<T>): Promise<T> {
  const handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    return await use(handle.fd);
  } finally {
    await handle.close();
  }
}
