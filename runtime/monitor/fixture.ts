import { mkdtemp, mkdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openHelper } from './descriptors.js';
import { openMonitors, type MonitorService } from './monitors.js';
import type { MonitorClient } from './client.js';
import type { MonitorLaunch } from '../container/deps.js';
import { encodePlan } from '../plan/wire.js';
import type { Plan, PlanStep } from '../plan/steps.js';
import type { Fd } from '../../native/index.js';

/**
 * For tests: real monitors over the host's root, in a scratch directory. A container here is a shell in a pid namespace
 * of its own; nothing else of a container is needed to see what a monitor does.
 */
export const helperPath = path.resolve('native/build/Release/podwright-init');

/** Why tests with real monitors cannot run here, if they cannot. */
export function whyNoMonitors(): string | undefined {
  return process.getuid?.() === 0 ? undefined : 'needs root';
}

const CLONE_NEWPID = 0x20000000;
const environment = ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'];

export interface ShellOptions {
  readonly tty?: boolean;
  /** Steps of the child before EXEC_FIFO. */
  readonly steps?: readonly PlanStep[];
}

/** Init: a shell command behind an exec fifo. */
export function initPlan(argv: readonly string[], { tty = false, steps = [] }: ShellOptions = {}): Plan {
  return {
    parent: [{ kind: 'clone', flags: CLONE_NEWPID }],
    child: [
      { kind: 'setsid' },
      tty
        ? { kind: 'console', columns: 80, rows: 24, uid: 0, gid: 0, keepDevConsole: true }
        : { kind: 'stdio', uid: 0, gid: 0 },
      ...steps,
      { kind: 'exec-fifo' },
      { kind: 'exec', preserve: 0, argv, environment },
    ],
  };
}

/** An exec: the same without a fifo, in the host's namespaces. */
export function execPlan(argv: readonly string[], tty = false): Plan {
  const { child } = initPlan(argv, { tty });
  return { parent: [{ kind: 'clone', flags: 0 }], child: child.filter((step) => step.kind !== 'exec-fifo') };
}

export interface LaunchedShell {
  readonly monitor: MonitorClient;
  readonly stateDir: string;
  readonly log: () => Promise<string>;
}

export class MonitorScratch {
  readonly directory: string;
  readonly monitors: MonitorService;
  readonly helperFd: Fd;
  readonly daemonLog: string[] = [];
  readonly #living = new Set<MonitorClient>();
  #count = 0;

  private constructor(directory: string, helperFd: Fd) {
    this.directory = directory;
    this.helperFd = helperFd;
    const keep = (message: string): void => {
      this.daemonLog.push(message);
    };
    this.monitors = openMonitors({ helperFd, logger: { debug: keep, info: keep, warn: keep, error: keep } });
  }

  static async open(): Promise<MonitorScratch> {
    const directory = await mkdtemp(path.join(tmpdir(), 'podwright-monitor-'));
    return new MonitorScratch(directory, await openHelper(helperPath));
  }

  /** Launches a monitor for the plan; its container waits at the fifo. */
  async launch(
    plan: Plan,
    options: Partial<MonitorLaunch> = {},
    signal = new AbortController().signal,
  ): Promise<LaunchedShell> {
    this.#count += 1;
    const stateDir = path.join(this.directory, `state-${this.#count}`);
    const logs = path.join(this.directory, 'logs');
    await mkdir(stateDir, { recursive: true });
    await mkdir(logs, { recursive: true });
    const logPath = `pod/${this.#count}/0.log`;
    const monitor = await this.monitors.launch(
      {
        containerId: `monitor-test-${process.pid}-${this.#count}`,
        stateDir,
        plan: encodePlan(plan),
        stdio: { tty: false, stdin: false, stdinOnce: false },
        log: { directory: logs, path: logPath },
        oomPath: undefined,
        killPath: '',
        killCgroup: false,
        onLog: (_level, message) => this.daemonLog.push(message),
        ...options,
      },
      signal,
    );
    this.follow(monitor);
    return { monitor, stateDir, log: () => readFile(path.join(logs, logPath), 'utf8') };
  }

  /** Kills its container when the scratch is closed. */
  follow(monitor: MonitorClient): void {
    this.#living.add(monitor);
    void monitor.exited.then(() => this.#living.delete(monitor));
  }

  async close(): Promise<void> {
    await Promise.all(
      [...this.#living].map(async (monitor) => {
        await monitor.signal(9).catch(() => undefined);
        await monitor.exited;
      }),
    );
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** The texts of CRI log lines of one stream, whole lines joined with newlines. */
export function logText(log: string, stream: 'stdout' | 'stderr'): string {
  return log
    .split('\n')
    .filter((line) => line.split(' ')[1] === stream)
    .map((line) => {
      const [, , tag, ...text] = line.split(' ');
      return text.join(' ') + (tag === 'F' ? '\n' : '');
    })
    .join('');
}
