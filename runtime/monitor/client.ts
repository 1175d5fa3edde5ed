import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { seqpacketConnect, seqpacketOpen, type Fd } from '../../native/index.js';
import { within } from '../base/deadline.js';
import { RuntimeError, SystemError, isErrno, messageOf } from '../errors.js';
import type { Monitor, MonitorExecution } from '../container/deps.js';
import { MonitorConnection, type Answer } from './connection.js';
import { openDirectory, planFile, withFds } from './descriptors.js';
import { exitOf, lostExit, readExitRecord, type ContainerExit } from './exit-record.js';
import { MAX_PASSED_FDS, MONITOR_SOCKET_NAME, frameFlags, type FrameValues } from './frames.js';

const HELLO_TIMEOUT_MS = 10_000;
const RECONNECT_DELAY_MS = 100;

const monitorPhases = ['creating', 'created', 'running', 'exited'] as const;
export type MonitorPhase = (typeof monitorPhases)[number];

/** What a monitor says when somebody connects. */
export interface Hello {
  readonly phase: MonitorPhase;
  /** 0: not started yet. */
  readonly startedAtNs: bigint;
}

export interface CreateOptions {
  readonly containerId: string;
  /** A file with init's encoded plan. */
  readonly planFd: Fd;
  readonly stateDirFd: Fd;
  readonly log?: { readonly directoryFd: Fd; readonly path: string } | undefined;
  readonly stdio: { readonly tty: boolean; readonly stdin: boolean; readonly stdinOnce: boolean };
  readonly oomPath?: string | undefined;
  readonly killPath?: string | undefined;
  readonly killCgroup: boolean;
  /** The plan executes a program that makes init: {@link MonitorClient.becomeInit} names it. */
  readonly restore?: boolean | undefined;
  /** Slots PASSED… of the plan. */
  readonly passedFds?: readonly Fd[] | undefined;
}

export interface ExecOptions {
  /** The encoded plan: ends in EXEC, without a fifo. */
  readonly plan: Uint8Array;
  /** A terminal instead of the three descriptors; its master comes back. */
  readonly tty?: boolean | undefined;
  /** Descriptors of the process, its own copies; absent is /dev/null. */
  readonly stdin?: Fd | undefined;
  readonly stdout?: Fd | undefined;
  readonly stderr?: Fd | undefined;
  /** The exec's own sub-cgroup: killed by {@link Execution.kill} or when the connection ends, removed once empty. */
  readonly cgroupPath?: string | undefined;
  readonly passedFds?: readonly Fd[] | undefined;
}

export interface Execution extends MonitorExecution {
  /** The pty master of an exec with a terminal: the caller's to close. */
  readonly terminal: Fd | undefined;
}

export interface AttachOptions {
  /** Ends of pipes or sockets; the monitor gets copies, the caller closes its own. */
  readonly stdin?: Fd | undefined;
  readonly stdout?: Fd | undefined;
  readonly stderr?: Fd | undefined;
}

export interface ClientOptions {
  readonly stateDir: string;
  /** The daemon's helper, which the monitor executes for an exec. */
  readonly helperFd: Fd;
  readonly nullFd: Fd;
  readonly onLog: (level: number, message: string) => void;
}

/**
 * One container's monitor, as the daemon talks to it.
 *
 * Made around a connection by launch.ts or adopt.ts, it serves until the container has exited or {@link close} is
 * called. The monitor does not need it: it can be left and taken up again at any time. A connection that breaks is made
 * anew as long as the monitor lives, calls under way fail with Unavailable. When the monitor is gone its exit record
 * decides; without one the container is `lost`.
 *
 * Calls throw StepError if a step of their plan failed, SystemError or RuntimeError if the monitor refused.
 */
export class MonitorClient implements Monitor {
  /** The container's end. Never rejects; after {@link close} it stays pending. */
  readonly exited: Promise<ContainerExit>;
  readonly #options: ClientOptions;
  #connection: MonitorConnection | undefined;
  #init: Monitor['init'] | undefined;
  #following = true;
  #hasExited = false;
  /** Settles when it is known what the end of the last connection means. */
  #decided: Promise<void> = Promise.resolve();
  #resolveExited: (exit: ContainerExit) => void = () => undefined;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.exited = new Promise((resolve) => {
      this.#resolveExited = resolve;
    });
  }

  /** Init's pid and start time, known once the monitor has answered CREATE or said hello. */
  get init(): Monitor['init'] {
    if (this.#init === undefined)
      throw new RuntimeError('FailedPrecondition', 'the container has no init yet');
    return this.#init;
  }

  // ---- connection --------------------------------------------------------------------------------------------------

  /** Takes over the socket of a monitor that was just spawned. */
  open(fd: Fd): void {
    this.#connection = new MonitorConnection((handlers) => seqpacketOpen(fd, handlers), {
      ...this.#handlers(),
      onHello: () => undefined,
    });
  }

  /**
   * Connects to the monitor of the state directory: its hello, or undefined if none answers there.
   *
   * @throws DeadlineExceeded if one is there but stuck, as on a disk that does not answer
   */
  async connect(): Promise<Hello | undefined> {
    return withFds(async (keep) => {
      try {
        const hello = this.#greet(keep(openDirectory(this.#options.stateDir)));
        if (await within(hello, HELLO_TIMEOUT_MS)) return await hello;
        this.#connection?.close();
        throw new RuntimeError('DeadlineExceeded', 'the monitor does not answer', {
          subject: this.#options.stateDir,
        });
      } catch (error) {
        if (isErrno(error, 'ENOENT', 'ECONNREFUSED', 'ECONNRESET')) return undefined;
        throw error;
      }
    });
  }

  #greet(directory: Fd): Promise<Hello | undefined> {
    return new Promise((resolve) => {
      const { onClose, ...handlers } = this.#handlers();
      let greeted = false;
      this.#connection = new MonitorConnection((on) => seqpacketConnect(directory, MONITOR_SOCKET_NAME, on), {
        ...handlers,
        onHello: (values) => {
          greeted = true;
          resolve(this.#hello(values));
        },
        onClose: () => {
          if (greeted) onClose();
          else resolve(undefined);
        },
      });
    });
  }

  #hello(values: FrameValues): Hello {
    const phase = monitorPhases[values.phase ?? 0] ?? 'creating';
    this.#keepInit(values);
    if (phase === 'exited') this.#finish(exitOf(values));
    return { phase, startedAtNs: values.startedAtNs ?? 0n };
  }

  #handlers() {
    return {
      onExited: (values: FrameValues) => {
        this.#finish(exitOf(values));
      },
      onLog: this.#options.onLog,
      onClose: () => {
        this.#decided = this.#decide();
      },
    };
  }

  /** Lets go of the connection: what it executes is killed, the container goes on. */
  close(): void {
    this.#following = false;
    this.#connection?.close();
    this.#connection = undefined;
  }

  /** The monitor is gone, or has dropped us: its record, else a new connection, else a record written meanwhile. */
  async #decide(): Promise<void> {
    this.#connection = undefined;
    while (this.#following) {
      const record = await this.#readRecord();
      try {
        if (record === undefined && (await this.connect()) !== undefined) return;
        this.#finish(record ?? (await this.#readRecord()) ?? lostExit());
      } catch (error) {
        // There is a monitor, so nothing is lost yet.
        this.#options.onLog(2, messageOf(error));
        await delay(RECONNECT_DELAY_MS);
      }
    }
  }

  async #readRecord(): Promise<ContainerExit | undefined> {
    return readExitRecord(this.#options.stateDir).catch(() => undefined);
  }

  #finish(exit: ContainerExit): void {
    this.#following = false;
    this.#hasExited = true;
    this.#resolveExited(exit);
  }

  #keepInit({ pid, startTime }: FrameValues): void {
    if (pid !== undefined && pid > 0) this.#init = { pid, startTime: (startTime ?? 0n).toString() };
  }

  // ---- calls -------------------------------------------------------------------------------------------------------

  /** Runs the plan up to the exec fifo. If that fails the monitor has undone everything, and ends. */
  async create(options: CreateOptions): Promise<void> {
    const { log, stdio, passedFds = [] } = options;
    refuseTooMany(passedFds);
    const { values } = await this.#ask(
      'create',
      {
        containerId: options.containerId,
        flags: flagsOf({ ...stdio, killCgroup: options.killCgroup, restore: options.restore ?? false }),
        logPath: log?.path,
        oomPath: options.oomPath,
        killPath: options.killPath,
      },
      [options.planFd, options.stateDirFd, ...(log === undefined ? [] : [log.directoryFd]), ...passedFds],
    );
    this.#keepInit(values);
  }

  /** Releases init from the exec fifo; resolves when it has become the command. */
  async start(): Promise<{ readonly atNs: bigint }> {
    const { values } = await this.#ask('start');
    return { atNs: values.atNs ?? 0n };
  }

  /**
   * Names the init that the executed program has made: the container runs.
   * @throws SystemError ECHILD if it is no child of the monitor
   */
  async becomeInit(pid: number): Promise<{ readonly atNs: bigint }> {
    const { values } = await this.#ask('init', { pid });
    this.#keepInit(values);
    return { atNs: values.atNs ?? 0n };
  }

  /** Runs a plan in the container. @throws ResourceExhausted above 256 processes at once */
  async exec({ plan, tty = false, cgroupPath, passedFds = [], ...stdio }: ExecOptions): Promise<Execution> {
    refuseTooMany(passedFds);
    const { helperFd, nullFd } = this.#options;
    const { stdin = nullFd, stdout = nullFd, stderr = nullFd } = stdio;
    const { values, fds, exited, kill } = await withFds(async (keep) =>
      this.#ask(
        'exec',
        { flags: flagsOf({ tty, cgroup: cgroupPath !== undefined }), execCgroup: cgroupPath },
        [
          keep(planFile(plan)),
          helperFd,
          ...(tty ? [] : [stdin, stdout, stderr]),
          ...(cgroupPath === undefined ? [] : [keep(openDirectory(cgroupPath))]),
          ...passedFds,
        ],
      ),
    );
    return { pid: values.pid ?? 0, terminal: fds[0], exited, kill };
  }

  /** Sends a signal to init. @throws SystemError ESRCH if it has ended */
  async signal(signal: number): Promise<void> {
    try {
      await this.#ask('signal', { signal });
    } catch (error) {
      if (!this.#hasExited) throw error;
      throw new SystemError({ syscall: 'kill', errno: constants.errno.ESRCH, code: 'ESRCH', path: 'init' });
    }
  }

  /** The size of the container's terminal. */
  async resize(columns: number, rows: number): Promise<void> {
    await this.#ask('resize', { columns, rows });
  }

  /** From now on at most so many bytes of output per second reach the log, the others are counted; 0n: any. */
  async limitLog(bytesPerSecond: bigint): Promise<void> {
    await this.#ask('limits', { logRateBytes: bytesPerSecond });
  }

  /** Opens the log by its name again, after the kubelet has renamed the file. */
  async reopenLog(): Promise<void> {
    await this.#ask('reopen-log');
  }

  /**
   * Connects descriptors to the container's output from now on, and to its input. They end with the container, or when
   * their other side is closed; one that is not read is dropped. @throws ResourceExhausted above 16 clients
   */
  async attach({ stdin, stdout, stderr }: AttachOptions): Promise<void> {
    const flags = { stdin: stdin !== undefined, stdout: stdout !== undefined, stderr: stderr !== undefined };
    const fds = [stdin, stdout, stderr].filter((fd) => fd !== undefined);
    await this.#ask('attach', { flags: flagsOf(flags) }, fds);
  }

  /** Ends the container's input. @throws SystemError EOPNOTSUPP for a terminal */
  async closeStdin(): Promise<void> {
    await this.#ask('close-stdin');
  }

  /** A call that the container's end has overtaken says so. */
  async #ask(...call: Parameters<MonitorConnection['ask']>): Promise<Answer> {
    try {
      if (this.#connection === undefined)
        throw new RuntimeError('Unavailable', 'the monitor cannot be reached');
      return await this.#connection.ask(...call);
    } catch (error) {
      if (!(error instanceof RuntimeError) || error.code !== 'Unavailable') throw error;
      await this.#decided;
      throw this.#hasExited ? new RuntimeError('FailedPrecondition', 'the container has ended') : error;
    }
  }
}

function flagsOf(flags: { readonly [Name in keyof typeof frameFlags]?: boolean }): number {
  return Object.entries(frameFlags).reduce(
    (bits, [name, bit]) => (flags[name as keyof typeof frameFlags] === true ? bits | bit : bits),
    0,
  );
}

function refuseTooMany(passedFds: readonly Fd[]): void {
  if (passedFds.length > MAX_PASSED_FDS) {
    throw new RuntimeError(
      'InvalidArgument',
      `${passedFds.length} descriptors for a plan, at most ${MAX_PASSED_FDS}`,
    );
  }
}
