import { constants } from 'node:os';
import { seqpacketPair, spawn, waitPidfd, type Fd } from '../../native/index.js';
import type { Logger } from '../base/logger.js';
import { RuntimeError } from '../errors.js';
import type { AdoptedMonitor, MonitorLaunch, Monitors, SpawnedMonitor } from '../container/deps.js';
import { MonitorClient, type ClientOptions, type Hello } from './client.js';
import { closeFds, openDirectory, openNull, planFile, withFds } from './descriptors.js';
import { readExitRecord } from './exit-record.js';
import { killStrayMonitors } from './stray.js';

export interface MonitorsOptions {
  /** From openHelper. */
  readonly helperFd: Fd;
  readonly logger: Logger;
}

export interface Adopted extends AdoptedMonitor, Hello {
  readonly monitor: MonitorClient;
}

/** The monitors of a node: launches them, takes them up again after a restart of the daemon, reads what they left. */
export interface MonitorService extends Monitors {
  launch(options: MonitorLaunch, signal: AbortSignal): Promise<MonitorClient>;
  adopt(stateDir: string): Promise<Adopted | undefined>;
}

export function openMonitors({ helperFd, logger }: MonitorsOptions): MonitorService {
  const shared = { helperFd, nullFd: openNull() };
  return {
    spawn: (containerId) => new Spawned(helperFd, containerId),
    launch: (options, signal) =>
      launchMonitor({ ...shared, stateDir: options.stateDir, onLog: options.onLog }, options, signal),
    adopt: (stateDir) =>
      adoptMonitor({
        ...shared,
        stateDir,
        onLog: (level, message) => {
          logger[level >= 2 ? 'warn' : 'debug'](message, { stateDir });
        },
      }),
    readExit: readExitRecord,
    killStray: killStrayMonitors,
  };
}

/** A monitor process at the other end of a socket. Without a word from us, and at the end of the socket, it ends. */
class Spawned implements SpawnedMonitor {
  /** Settles when the process has ended, and been reaped. */
  readonly ended: Promise<unknown>;
  #socket: Fd | undefined;

  constructor(helperFd: Fd, containerId: string) {
    const [ours, theirs] = seqpacketPair();
    try {
      const { pidfd } = spawn({
        file: helperFd,
        argv: ['podwright-init', 'monitor', containerId],
        fds: [null, null, null, theirs],
      });
      this.ended = waitPidfd(pidfd);
      this.#socket = ours;
    } catch (error) {
      closeFds([ours]);
      throw error;
    } finally {
      closeFds([theirs]);
    }
  }

  /** Hands the socket over. */
  take(): Fd {
    if (this.#socket === undefined) throw new RuntimeError('Internal', 'a monitor was launched twice');
    const socket = this.#socket;
    this.#socket = undefined;
    return socket;
  }

  release(): void {
    if (this.#socket !== undefined) closeFds([this.take()]);
  }
}

/**
 * Has a spawned monitor run the plan up to the exec fifo. A caller that gives up, and a daemon that dies, leave
 * nothing: a monitor whose first connection ends before it has answered undoes its work and ends.
 */
async function launchMonitor(
  client: ClientOptions,
  options: MonitorLaunch,
  signal: AbortSignal,
): Promise<MonitorClient> {
  signal.throwIfAborted();
  const { spawned } = options;
  if (!(spawned instanceof Spawned)) throw new RuntimeError('Internal', 'a monitor of somebody else');
  const monitor = new MonitorClient(client);
  monitor.open(spawned.take());
  const giveUp = (): void => {
    monitor.close();
  };
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    await create(monitor, options);
    await limitLog(monitor, options);
    signal.throwIfAborted();
    return monitor;
  } catch (error) {
    monitor.close();
    // Only then everything it made is undone.
    await spawned.ended;
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

async function create(monitor: MonitorClient, options: MonitorLaunch): Promise<void> {
  await withFds(async (keep) =>
    monitor.create({
      ...options,
      planFd: keep(planFile(options.plan)),
      stateDirFd: keep(openDirectory(options.stateDir)),
      log: options.log && { directoryFd: keep(openDirectory(options.log.directory)), path: options.log.path },
    }),
  );
}

/** Init waits, so nothing has reached the log yet. A container that cannot be limited does not stay. */
async function limitLog(monitor: MonitorClient, { log }: MonitorLaunch): Promise<void> {
  const { bytesPerSecond = 0 } = log ?? {};
  if (bytesPerSecond === 0) return;
  try {
    await monitor.limitLog(BigInt(bytesPerSecond));
  } catch (error) {
    await monitor.signal(constants.signals.SIGKILL).catch(() => undefined);
    throw error;
  }
}

async function adoptMonitor(client: ClientOptions): Promise<Adopted | undefined> {
  const monitor = new MonitorClient(client);
  const hello = await monitor.connect();
  return hello && { ...hello, monitor };
}
