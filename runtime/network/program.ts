import net from 'node:net';
import { openCapture, type Capture } from '../../native/capture.js';
import {
  closeFd,
  pidfdOpen,
  pidfdSendSignal,
  pipe,
  spawn,
  waitPidfd,
  type Fd,
  type Spawned,
} from '../../native/index.js';
import { RuntimeError } from '../errors.js';

/** A program that reads one text and writes another: a CNI plugin, nft. */
export interface ProgramCall {
  /** A path, or a name that is looked for in the usual directories. */
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly input: string;
  readonly timeoutMs: number;
}

export interface ProgramResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** @throws DeadlineExceeded, or Unavailable with the program's words when it ends with another status than 0 */
export type RunProgram = (call: ProgramCall, signal: AbortSignal) => Promise<string>;

const SIGKILL = 9;
const MAX_OUTPUT_BYTES = 1024 * 1024;
const SEARCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Runs a program to its end; at the deadline or when the caller gives up it is killed. */
export async function callProgram(call: ProgramCall, signal: AbortSignal): Promise<ProgramResult> {
  signal.throwIfAborted();
  const stdout = openCapture(MAX_OUTPUT_BYTES);
  const stderr = openCapture(MAX_OUTPUT_BYTES);
  try {
    const child = start(call, stdout, stderr);
    const late = AbortSignal.timeout(call.timeoutMs);
    const stop = AbortSignal.any([signal, late]);
    const kill = (): void => killProcess(child.pid);
    stop.addEventListener('abort', kill, { once: true });
    const exit = await waitPidfd(child.pidfd);
    stop.removeEventListener('abort', kill);
    signal.throwIfAborted();
    if (late.aborted)
      throw new RuntimeError('DeadlineExceeded', `${call.file} did not end within ${call.timeoutMs} ms`);
    return {
      code: exit?.code ?? 255,
      stdout: stdout.finish().toString('utf8'),
      stderr: stderr.finish().toString('utf8'),
    };
  } catch (error) {
    stdout.finish();
    stderr.finish();
    throw error;
  }
}

export const runProgram: RunProgram = async (call, signal) => {
  const { code, stdout, stderr } = await callProgram(call, signal);
  if (code === 0) return stdout;
  const words = (stderr.trim() === '' ? stdout : stderr).trim();
  throw new RuntimeError('Unavailable', `${call.file} ended with status ${code}`, {
    cause: words === '' ? undefined : words,
  });
};

function start(call: ProgramCall, stdout: Capture, stderr: Capture): Spawned {
  const [stdin, input] = pipe();
  try {
    const env = { PATH: SEARCH_PATH, ...call.env };
    const child = spawn({
      file: call.file.includes('/') ? call.file : '/usr/bin/env',
      argv: call.file.includes('/') ? [call.file, ...call.args] : ['env', call.file, ...call.args],
      env: Object.entries(env).map(([key, value]) => `${key}=${value}`),
      fds: [stdin, stdout.writeEnd, stderr.writeEnd],
    });
    feed(input, call.input);
    return child;
  } catch (error) {
    closeFd(input);
    throw error;
  } finally {
    for (const fd of [stdin, stdout.writeEnd, stderr.writeEnd]) closeFd(fd);
  }
}

function killProcess(pid: number): void {
  const pidfd = pidfdOpen(pid);
  pidfdSendSignal(pidfd, SIGKILL);
  closeFd(pidfd);
}

/** A program may end without reading its input: EPIPE is no error here. */
function feed(fd: Fd, input: string): void {
  const socket = new net.Socket({ fd, readable: false, writable: true });
  socket.on('error', () => undefined);
  socket.end(input);
}
