import { seqpacketPair, spawn, waitPidfd, type Fd } from '../../native/index.js';
import type { Logger } from '../base/logger.js';
import type { AdoptedMonitor, MonitorLaunch, Monitors } from '../container/deps.js';
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

/**
 * Spawns a monitor and has it run the plan up to the exec fifo. A caller that gives up, and a daemon that dies, leave
 * nothing: a monitor whose first connection ends before it has answered undoes its work and ends.
 */
async function launchMonitor(
  client: ClientOptions,
  options: MonitorLaunch,
  signal: AbortSignal,
): Promise<MonitorClient> {
  signal.throwIfAborted();
  const monitor = new MonitorClient(client);
  const ended = spawnMonitor(client.helperFd, options.containerId, monitor);
  const giveUp = (): void => {
    monitor.close();
  };
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    await create(monitor, options);
    signal.throwIfAborted();
    return monitor;
  } catch (error) {
    monitor.close();
    // Only then everything it made is undone.
    await ended;
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

/** Resolves when the monitor process has ended, and been reaped. */
function spawnMonitor(helperFd: Fd, containerId: string, monitor: MonitorClient): Promise<unknown> {
  const [ours, theirs] = seqpacketPair();
  try {
    const { pidfd } = spawn({
      file: helperFd,
      argv: ['podwright-init', 'monitor', containerId],
      fds: [null, null, null, theirs],
    });
    const ended = waitPidfd(pidfd);
    monitor.open(ours);
    return ended;
  } catch (error) {
    closeFds([ours]);
    throw error;
  } finally {
    closeFds([theirs]);
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

async function adoptMonitor(client: ClientOptions): Promise<Adopted | undefined> {
  const monitor = new MonitorClient(client);
  const hello = await monitor.connect();
  return hello && { ...hello, monitor };
}
