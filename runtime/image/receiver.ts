import net from 'node:net';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { closeFd, pipe, SystemError, type Fd } from '../../native/index.js';
import { algorithmOf, parseDigest, type Digest } from '../base/digest.js';
import { RuntimeError, wrapError } from '../errors.js';
import type { Pour } from '../snapshot/types.js';
import { startUnpackProcess, type UnpackProcess } from '../unpack-process.js';
import type { BlobBody } from './registry/client.js';
import { ConnectionError, type Connection } from './registry/transport.js';

/** A process costs a few milliseconds; smaller blobs pass through the event loop in less. */
const worthwhileBytes = 2 * 1024 * 1024;

export interface Reception {
  readonly giveAway: NonNullable<BlobBody['giveAway']>;
  /** The empty file of the blob. */
  readonly blobFd: Fd;
  readonly size: number;
  /** Called now and then with what came since. */
  readonly onBytes: (bytes: number) => void;
  readonly signal: AbortSignal;
}

export interface Received {
  /** Written to the blob and the pipe. */
  readonly bytes: number;
  /** Of the whole blob, undefined if part of it is missing. */
  readonly digest: Digest | undefined;
  /** Why part of it is missing. */
  readonly error: Error | undefined;
}

export interface Pouring {
  readonly pour: Pour;
  /** After the pour: what came, or undefined if the connection could not be given away and is untouched. */
  received(): Received | undefined;
}

const recordSchema = z.union([
  z.object({
    ok: z.literal(true),
    digest: z.string(),
    bytes: z.number().int(),
    errno: z.number().int(),
    readerGone: z.boolean(),
  }),
  z.object({
    ok: z.literal(false),
    errno: z.number().int(),
    code: z.string().default('EIO'),
    message: z.string(),
  }),
]);

type Outcome = Extract<z.infer<typeof recordSchema>, { ok: true }>;

/**
 * Receives large blobs in a process of their own (native/unpack, `receive`), which reads the connection, hashes, writes
 * the blob and feeds the unpacker. That takes a third of the CPU time that the same takes here, none of it from the
 * event loop, and leaves no garbage.
 */
export class Receiver {
  constructor(private readonly program: string) {}

  /** Whether a blob is worth it; the process knows one kind of digest. */
  suits(digest: Digest, size: number): boolean {
    return size >= worthwhileBytes && algorithmOf(digest) === 'sha256';
  }

  receive({ giveAway, ...reception }: Reception): Pouring {
    let received: Received | undefined;
    const pour = async (pipeFd: Fd): Promise<boolean> => {
      const run = await giveAway(reception.size, (connection) => this.start(connection, pipeFd, reception));
      if (run === undefined) return true;
      const outcome = await run.outcome;
      const { bytes, digest } = outcome;
      received = { bytes, digest: parseDigest(digest), error: connectionError(run.connection, outcome) };
      return !outcome.readerGone;
    };
    return { pour, received: () => received };
  }

  private start(
    connection: Connection,
    pipeFd: Fd,
    reception: Omit<Reception, 'giveAway'>,
  ): { readonly connection: Connection; readonly outcome: Promise<Outcome> } {
    const [recordRead, recordWrite] = pipe();
    const [headRead, headWrite] = pipe();
    try {
      const child = startUnpackProcess(
        this.program,
        [
          'receive',
          `--parent=${process.pid}`,
          `--size=${reception.size}`,
          `--idle-ms=${connection.idleTimeoutMs}`,
        ],
        [connection.fd, pipeFd, 2, recordWrite, reception.blobFd, headRead],
      );
      const head = new net.Socket({ fd: headWrite, readable: false, writable: true });
      head.on('error', () => undefined).end(connection.head);
      return { connection, outcome: follow(child, recordRead, reception) };
    } catch (error) {
      closeFd(recordRead);
      closeFd(headWrite);
      throw error;
    } finally {
      closeFd(recordWrite);
      closeFd(headRead);
    }
  }
}

/** Until its end, which is early when the signal aborts. */
async function follow(
  child: UnpackProcess,
  recordFd: Fd,
  { onBytes, signal }: Pick<Reception, 'onBytes' | 'signal'>,
): Promise<Outcome> {
  signal.addEventListener('abort', child.kill, { once: true });
  if (signal.aborted) child.kill();
  try {
    let known = 0;
    const came = (bytes: number): void => {
      onBytes(bytes - known);
      known = bytes;
    };
    const record = await readRecord(recordFd, came);
    await child.ended;
    signal.throwIfAborted();
    const outcome = parseRecord(record);
    if (outcome.bytes > known) came(outcome.bytes);
    return outcome;
  } finally {
    signal.removeEventListener('abort', child.kill);
  }
}

/** The lines are how much has come so far, the last one is the record. */
async function readRecord(recordFd: Fd, came: (bytes: number) => void): Promise<string> {
  const socket = new net.Socket({ fd: recordFd, readable: true, writable: false });
  let record = '';
  for await (const line of createInterface({ input: socket })) {
    if (/^\d+$/.test(line)) came(Number(line));
    else record = line;
  }
  return record;
}

function parseRecord(text: string): Outcome {
  if (text === '') throw new RuntimeError('Internal', 'receive blob', { cause: 'it ended without a record' });
  const record = recordSchema.parse(JSON.parse(text));
  if (record.ok) return record;
  const { errno, code, message } = record;
  throw wrapError('write blob', new SystemError({ syscall: message, errno, code }));
}

const ETIMEDOUT = 110;

function connectionError({ host, idleTimeoutMs }: Connection, { digest, errno }: Outcome): Error | undefined {
  if (digest !== '') return undefined;
  if (errno === ETIMEDOUT) return new ConnectionError(`${host}: no data for ${idleTimeoutMs} ms`, true);
  return new ConnectionError(
    `${host}: ${errno === 0 ? 'the connection ended early' : 'connection reset'}`,
    true,
  );
}
