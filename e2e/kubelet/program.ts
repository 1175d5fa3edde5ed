import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import path from 'node:path';
import { eventually } from '../eventually.js';
import { kubernetesTool } from './places.js';

/** A part of Kubernetes that runs until it is ended, with its output in a file of its own. */
export interface Program extends AsyncDisposable {
  readonly name: string;
  readonly pid: number;
  readonly log: string;
  /** Ends it and resolves once it has ended. What has ended already is fine. */
  end(signal?: NodeJS.Signals): Promise<void>;
}

const readyTimeoutMs = 120_000;

/** @param directory of the log file, which is appended to */
export async function startProgram(
  name: string,
  args: readonly string[],
  directory: string,
): Promise<Program> {
  const log = path.join(directory, `${name}.log`);
  const file = await open(log, 'a');
  try {
    const child = spawn(kubernetesTool(name), args, { stdio: ['ignore', file.fd, file.fd], cwd: directory });
    await once(child, 'spawn');
    const end = (signal: NodeJS.Signals = 'SIGTERM'): Promise<void> => endChild(child, signal);
    return { name, pid: child.pid ?? 0, log, end, [Symbol.asyncDispose]: () => end('SIGKILL') };
  } finally {
    await file.close();
  }
}

/**
 * Resolves once `look` says true.
 *
 * @throws Error with the end of the program's log when it does not become ready
 */
export async function ready(program: Program, look: () => Promise<boolean>): Promise<void> {
  const attempt = (): Promise<boolean> => look().catch(() => false);
  if (await eventually(attempt, (isReady) => isReady, readyTimeoutMs)) return;
  const log = await readFile(program.log, 'utf8');
  throw new Error(`${program.name} did not become ready:\n${log.split('\n').slice(-30).join('\n')}`);
}

async function endChild(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill(signal);
  const late = setTimeout(() => child.kill('SIGKILL'), 20_000);
  await ended;
  clearTimeout(late);
}
