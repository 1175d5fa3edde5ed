import { once } from 'node:events';
import net from 'node:net';
import { z } from 'zod';
import { closeFd, pipe, SystemError, type Fd } from '../../native/index.js';
import { codeOf, isErrno, RuntimeError, type ErrorCode } from '../errors.js';
import { startUnpackProcess, type UnpackProcess } from '../unpack-process.js';
import type { Pour } from './types.js';

/**
 * One run of `podwright-unpack`, which handles hostile content in a confined process (native/unpack). It gets a
 * directory, bytes in or out, and gives one record.
 */
export interface UnpackRun {
  readonly unpackerPath: string;
  readonly arguments: readonly string[];
  /** The directory it works in. */
  readonly directoryFd: Fd;
  /** A tree it reads besides. */
  readonly sourceFd?: Fd | undefined;
  readonly input?: AsyncIterable<Uint8Array | Pour> | Fd | undefined;
  readonly output?: Fd | undefined;
  readonly signal?: AbortSignal | undefined;
}

const failureSchema = z.object({
  ok: z.literal(false),
  operation: z.string(),
  entry: z.string().optional(),
  errno: z.number().int(),
  code: z.string().default('EIO'),
  message: z.string(),
});

type Failure = z.infer<typeof failureSchema>;

/** A record lists directories; a layer with more of them than fit here is refused. */
const RECORD_LIMIT_BYTES = 64 * 1024 * 1024;

/**
 * Runs it to its end and returns the record. When the signal aborts or the input fails it is killed, and that error is
 * thrown.
 * @throws DataLoss (no valid archive), InvalidArgument (an entry that is refused, named), ResourceExhausted (disk, limits)
 */
export async function runUnpacker<T>(run: UnpackRun, schema: z.ZodType<T>): Promise<T> {
  run.signal?.throwIfAborted();
  const child = startUnpacker(run);
  run.signal?.addEventListener('abort', child.kill, { once: true });
  try {
    const feeding = feed(child.input, run.input).catch((error: unknown) => {
      child.kill();
      throw error;
    });
    const [fed, record] = await Promise.allSettled([feeding, readRecord(child.record)]);
    await child.ended;
    run.signal?.throwIfAborted();
    if (fed.status === 'rejected') throw fed.reason;
    if (record.status === 'rejected') throw record.reason;
    return parseRecord(record.value, schema);
  } finally {
    run.signal?.removeEventListener('abort', child.kill);
  }
}

interface Input {
  readonly fd: Fd;
  readonly pipe: net.Socket;
}

interface Child extends UnpackProcess {
  /** Where its input is written to, if that comes from us. */
  readonly input: Input | undefined;
  readonly record: net.Socket;
}

function startUnpacker(run: UnpackRun): Child {
  const [recordRead, recordWrite] = pipe();
  const [inputRead, inputWrite] = isStream(run.input) ? pipe() : [run.input, undefined];
  try {
    const child = startUnpackProcess(
      run.unpackerPath,
      [`--parent=${process.pid}`, ...run.arguments],
      [inputRead ?? null, run.output ?? null, 2, recordWrite, run.directoryFd, run.sourceFd ?? null],
    );
    return {
      ...child,
      input: inputWrite === undefined ? undefined : openInput(inputWrite),
      record: new net.Socket({ fd: recordRead, readable: true, writable: false }),
    };
  } catch (error) {
    closeFd(recordRead);
    if (inputWrite !== undefined) closeFd(inputWrite);
    throw error;
  } finally {
    closeFd(recordWrite);
    if (inputWrite !== undefined && inputRead !== undefined) closeFd(inputRead);
  }
}

/** The pipe's own size (1 MiB) again is kept waiting here, so that neither side stands still for the other's turn. */
function openInput(fd: Fd): Input {
  const options: net.SocketConstructorOpts & { writableHighWaterMark: number } = {
    fd,
    readable: false,
    writable: true,
    writableHighWaterMark: 1024 * 1024,
  };
  return { fd, pipe: new net.Socket(options) };
}

function isStream(input: UnpackRun['input']): input is AsyncIterable<Uint8Array | Pour> {
  return typeof input === 'object';
}

/** Writes the source into the pipe no faster than it is read. A reader that is gone has a reason, which is its record. */
async function feed(input: Input | undefined, source: UnpackRun['input']): Promise<void> {
  if (input === undefined || !isStream(source)) return;
  const { pipe, fd } = input;
  const closed = new Promise<void>((resolve) => pipe.once('close', () => resolve()));
  pipe.on('error', () => undefined);
  try {
    for await (const chunk of source) {
      if (pipe.destroyed) return;
      if (typeof chunk !== 'function') {
        if (!pipe.write(chunk)) await Promise.race([once(pipe, 'drain').catch(() => undefined), closed]);
        continue;
      }
      if (pipe.writableLength > 0)
        throw new RuntimeError('Internal', 'feed podwright-unpack', { cause: 'poured after chunks' });
      if (!(await chunk(fd))) return;
    }
    pipe.end();
    await closed;
  } finally {
    pipe.destroy();
  }
}

async function readRecord(socket: net.Socket): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > RECORD_LIMIT_BYTES) {
      throw new RuntimeError('ResourceExhausted', 'read record of podwright-unpack', {
        cause: 'too many directories',
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('latin1');
}

function parseRecord<T>(text: string, schema: z.ZodType<T>): T {
  if (text === '') throw new RuntimeError('Internal', 'podwright-unpack ended without a record');
  const record: unknown = JSON.parse(text);
  const failure = failureSchema.safeParse(record);
  if (failure.success) throw errorOf(failure.data);
  return schema.parse(record);
}

function errorOf(failure: Failure): RuntimeError {
  const { operation, entry, errno, code, message } = failure;
  const system = new SystemError({ syscall: message, errno, code });
  const isWord = code in verdicts;
  return new RuntimeError(verdicts[code] ?? classify(entry !== undefined, system), operation, {
    subject: entry === undefined ? undefined : printName(entry),
    cause: isWord ? message : system,
  });
}

/** What the unpacker says with errnos of its own choice (native/unpack/report.h). */
const verdicts: Readonly<Record<string, ErrorCode>> = {
  EBADMSG: 'DataLoss',
  EXDEV: 'InvalidArgument',
  EOVERFLOW: 'ResourceExhausted',
  EOPNOTSUPP: 'FailedPrecondition',
};

/** A call that failed on an entry is the entry's fault, unless the disk is full or broken. */
function classify(hasEntry: boolean, error: SystemError): ErrorCode {
  const code = isErrno(error, 'EFBIG') ? 'ResourceExhausted' : codeOf(error);
  const isOurs = code === 'ResourceExhausted' || isErrno(error, 'EIO', 'EROFS', 'ENOSYS', 'EUCLEAN');
  return hasEntry && !isOurs ? 'InvalidArgument' : code;
}

/** Bytes of a name, which the record holds one per character. */
export function nameBytes(name: string): Buffer {
  return Buffer.from(name, 'latin1');
}

const PRINTED_NAME_LIMIT = 300;

/** A name for people: quoted, without control characters, not endless. */
function printName(name: string): string {
  const text = nameBytes(name).toString('utf8').replace(/\p{C}/gu, '?');
  return JSON.stringify(text.length > PRINTED_NAME_LIMIT ? `${text.slice(0, PRINTED_NAME_LIMIT)}…` : text);
}
