import { execFile } from 'node:child_process';
import { watch } from 'node:fs';
import { mkdtemp, mkdir, readFile, readdir, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { closeFd, pipe, type Fd } from '../../native/index.js';
import type { MonitorLaunch } from '../container/deps.js';
import type { Plan, PlanStep } from '../plan/steps.js';
import { encodePlan } from '../plan/wire.js';
import type { MonitorClient } from './client.js';
import { openHelper } from './descriptors.js';
import { openMonitors, type MonitorService } from './monitors.js';

/**
 * For tests: real monitors over the host's root, in a scratch directory. A container here is a command in a pid
 * namespace of its own; nothing else of a container is needed to see what a monitor does.
 */
const helperPath = path.resolve('native/build/Release/podwright-init');

/** Why tests with real monitors cannot run here, if they cannot. */
export function whyNoMonitors(): string | undefined {
  return process.getuid?.() === 0 ? undefined : 'needs root';
}

const CLONE_NEWPID = 0x20000000;
const environment = ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'];

export function shell(script: string): readonly string[] {
  return ['/bin/sh', '-c', script];
}

export interface PlanOptions {
  readonly tty?: boolean;
  /** Steps of the child before its stdio. */
  readonly steps?: readonly PlanStep[];
  readonly cloneFlags?: number;
}

/** Init: a command behind an exec fifo. */
export function initPlan(
  argv: readonly string[],
  { cloneFlags = CLONE_NEWPID, ...options }: PlanOptions = {},
): Plan {
  return {
    parent: [{ kind: 'clone', flags: cloneFlags }],
    child: [...session(options), { kind: 'exec-fifo' }, { kind: 'exec', preserve: 0, argv, environment }],
  };
}

/** An exec: the same without a fifo, in the host's namespaces. */
export function execPlan(argv: readonly string[], options: PlanOptions = {}): Plan {
  return {
    parent: [{ kind: 'clone', flags: 0 }],
    child: [...session(options), { kind: 'exec', preserve: 0, argv, environment }],
  };
}

function session({ tty = false, steps = [] }: PlanOptions): readonly PlanStep[] {
  return [
    { kind: 'setsid' },
    ...steps,
    tty
      ? { kind: 'console', columns: 80, rows: 24, uid: 0, gid: 0, keepDevConsole: true }
      : { kind: 'stdio', uid: 0, gid: 0 },
  ];
}

export interface Launched {
  readonly monitor: MonitorClient;
  readonly containerId: string;
  readonly stateDir: string;
  readonly logPath: string;
  readonly log: () => Promise<string>;
  /** Of the monitor process. */
  readonly pid: () => Promise<number>;
}

export class MonitorScratch {
  readonly directory: string;
  readonly logs: string;
  readonly monitors: MonitorService;
  readonly helperFd: Fd;
  /** What monitors have told the daemon's log. */
  readonly messages: string[] = [];
  readonly #living = new Set<MonitorClient>();
  #count = 0;

  private constructor(directory: string, helperFd: Fd) {
    this.directory = directory;
    this.logs = path.join(directory, 'logs');
    this.helperFd = helperFd;
    const keep = (message: string): void => {
      this.messages.push(message);
    };
    this.monitors = openMonitors({ helperFd, logger: { debug: keep, info: keep, warn: keep, error: keep } });
  }

  static async open(): Promise<MonitorScratch> {
    const directory = await mkdtemp(path.join(tmpdir(), 'podwright-monitor-'));
    const scratch = new MonitorScratch(directory, await openHelper(helperPath));
    await mkdir(scratch.logs);
    return scratch;
  }

  /** Where the last launch keeps its state, and its log. */
  get lastStateDir(): string {
    return path.join(this.directory, `state-${this.#count}`);
  }

  get lastLog(): string {
    return path.join(this.logs, `pod/${this.#count}/0.log`);
  }

  /** Launches a monitor for the plan; its container waits at the fifo. */
  async launch(plan: Plan, options: Partial<MonitorLaunch> = {}, signal?: AbortSignal): Promise<Launched> {
    this.#count += 1;
    const containerId = `monitor-test-${process.pid}-${this.#count}`;
    const stateDir = options.stateDir ?? this.lastStateDir;
    const logPath = this.lastLog;
    await mkdir(stateDir, { recursive: true });
    const spawned = this.monitors.spawn(containerId);
    const launching = this.monitors.launch(
      {
        spawned,
        containerId,
        stateDir,
        plan: encodePlan(plan),
        stdio: { tty: false, stdin: false, stdinOnce: false },
        log: { directory: this.logs, path: path.relative(this.logs, logPath) },
        oomPath: undefined,
        killPath: '',
        killCgroup: false,
        onLog: (_level, message) => this.messages.push(message),
        ...options,
      },
      signal ?? new AbortController().signal,
    );
    const monitor = await launching.finally(() => {
      spawned.release();
    });
    this.#living.add(monitor);
    void monitor.exited.then(() => this.#living.delete(monitor));
    const log = (): Promise<string> => readFile(logPath, 'utf8');
    return { monitor, containerId, stateDir, logPath, log, pid: () => monitorPid(containerId) };
  }

  /** Kills what still runs; a monitor that a test has left is another's by now. */
  async close(): Promise<void> {
    await Promise.allSettled(
      [...this.#living].map(async (monitor) => {
        await monitor.signal(9);
        await monitor.exited;
      }),
    );
    closeFd(this.helperFd);
    await rm(this.directory, { recursive: true, force: true });
  }
}

async function monitorPid(containerId: string): Promise<number> {
  for (const name of await readdir('/proc')) {
    const command = /^\d+$/.test(name) ? await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '') : '';
    if (command === `podwright-init\0monitor\0${containerId}\0`) return Number(name);
  }
  throw new Error(`no monitor of ${containerId}`);
}

/** The texts of one stream's CRI log lines; whole lines end with a newline, partial ones with nothing. */
export function logText(log: string, stream: 'stdout' | 'stderr'): string {
  return log
    .split('\n')
    .map((line) => /^\S+ (\S+) ([FP]) (.*)$/s.exec(line))
    .filter((match) => match?.[1] === stream)
    .map((match) => `${match?.[3] ?? ''}${match?.[2] === 'F' ? '\n' : ''}`)
    .join('');
}

/** What a promise is rejected with. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('was not rejected');
}

export async function makeFifo(file: string): Promise<void> {
  await promisify(execFile)('mkfifo', [file]);
}

/** Resolves when `ready` says so, asked after every change in a directory. */
export async function changed(directory: string, ready: () => Promise<boolean>): Promise<void> {
  const watcher = watch(directory);
  try {
    await new Promise<void>((resolve, reject) => {
      const check = (): void => {
        ready().then((done) => done && resolve(), reject);
      };
      watcher.on('change', check);
      check();
    });
  } finally {
    watcher.close();
  }
}

/** Resolves when the file holds the text. */
export async function holds(file: string, text: string): Promise<void> {
  await changed(path.dirname(file), async () =>
    (await readFile(file, 'utf8').catch(() => '')).includes(text),
  );
}

/** The reading side of a pipe whose write end goes to a process. */
export class Output {
  /** To be handed on, then closed with {@link Output.handedOn}. */
  readonly writeEnd: Fd;
  readonly socket: net.Socket;
  #text = '';
  readonly #ended: Promise<void>;
  #onData: () => void = () => undefined;

  constructor() {
    const [readEnd, writeEnd] = pipe();
    this.writeEnd = writeEnd;
    this.socket = new net.Socket({ fd: readEnd, readable: true, writable: false });
    this.socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1');
      this.#onData();
    });
    this.#ended = new Promise((resolve) => this.socket.once('close', () => resolve()));
  }

  handedOn(): this {
    closeFd(this.writeEnd);
    return this;
  }

  /** Resolves with everything so far, once that holds the text. */
  async until(text: string): Promise<string> {
    await new Promise<void>((resolve) => {
      this.#onData = () => {
        if (this.#text.includes(text)) resolve();
      };
      this.#onData();
    });
    return this.#text;
  }

  /** Everything, once every writer is gone. */
  async end(): Promise<string> {
    await this.#ended;
    return this.#text;
  }
}

/** A pipe into the container's stdin: what is written here. */
export async function attachInput(monitor: MonitorClient): Promise<net.Socket> {
  const [readEnd, writeEnd] = pipe();
  await monitor.attach({ stdin: readEnd });
  closeFd(readEnd);
  return new net.Socket({ fd: writeEnd, readable: false, writable: true });
}
