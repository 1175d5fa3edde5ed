import net from 'node:net';
import {
  pidfdOpen,
  pidfdSendSignal,
  pipe,
  spawn,
  waitPidfd,
  type ExitStatus,
  type Fd,
  type Spawned,
} from '../../native/index.js';
import { RuntimeError, StepError, isErrno } from '../errors.js';
import { closeFds, planFile } from './descriptors.js';
import { ReportReader, type Report } from './report.js';

const SIGKILL = 9;
/** Of a step's failure: the child's list. */
const CHILD_LIST = 1;

export interface RunPlanOptions {
  /** From openHelper. */
  readonly helperFd: Fd;
  /** The encoded plan. */
  readonly plan: Uint8Array;
  /** Slots PASSED… of the plan; the launch gets copies. */
  readonly passedFds?: readonly Fd[] | undefined;
  /** Slots 0-2; absent is /dev/null. */
  readonly stdio?: readonly [Fd | null, Fd | null, Fd | null] | undefined;
  readonly onLog?: ((level: number, text: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs a plan in a launcher of its own, as our child: a pause process, or parent steps alone.
 *
 * Resolves when the plan's child reports that it is ready, or has become its command, or when a plan without a child is
 * done. `pid` is the child's, which is our child too: the caller waits for it by pidfd. When the plan fails, or the
 * signal aborts, launcher and child are dead when this rejects.
 *
 * @throws StepError for the step that failed
 */
export async function runPlan(options: RunPlanOptions): Promise<{ readonly pid: number | undefined }> {
  const { signal } = options;
  signal?.throwIfAborted();
  const launch = startLaunch(options);
  const abort = (): void => {
    killLauncher(launch);
  };
  signal?.addEventListener('abort', abort, { once: true });
  try {
    await follow(launch, options);
    signal?.throwIfAborted();
    return { pid: launch.pids.at(-1) };
  } catch (error) {
    killLauncher(launch);
    await Promise.all([launch.ended, ...launch.pids.map(killChild), ...launch.replaced]);
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

interface Launch {
  readonly launcher: Spawned;
  /** Settles when the launcher has ended and been reaped. */
  readonly ended: Promise<ExitStatus | undefined>;
  readonly report: Fd;
  /** The plan's child; a later one has replaced those before it. */
  readonly pids: number[];
  /** Settle when the replaced ones have been reaped. */
  readonly replaced: Promise<unknown>[];
  /** Why the child failed, until its pid is known: the launcher reports that beside it, and only that leads to its reaping. */
  failure: StepError | undefined;
  hasEnded: boolean;
}

function startLaunch({ helperFd, plan, passedFds = [], stdio = [null, null, null] }: RunPlanOptions): Launch {
  const [report, reportEnd] = pipe();
  const opened = [reportEnd];
  try {
    const planFd = planFile(plan);
    opened.push(planFd);
    const launcher = spawn({
      file: helperFd,
      argv: ['podwright-init', 'launch', String(passedFds.length)],
      fds: [...stdio, planFd, reportEnd, ...passedFds],
    });
    const launch: Launch = {
      launcher,
      ended: waitPidfd(launcher.pidfd),
      report,
      pids: [],
      replaced: [],
      failure: undefined,
      hasEnded: false,
    };
    void launch.ended.then(() => {
      launch.hasEnded = true;
    });
    return launch;
  } catch (error) {
    closeFds([report]);
    throw error;
  } finally {
    closeFds(opened);
  }
}

/** Resolves as {@link runPlan} does. */
async function follow(launch: Launch, { onLog = () => undefined }: RunPlanOptions): Promise<void> {
  const socket = new net.Socket({ fd: launch.report, readable: true, writable: false });
  const reader = new ReportReader();
  try {
    for await (const chunk of socket) {
      for (const report of reader.push(chunk as Buffer)) {
        if (takeReport(launch, report, onLog)) return;
      }
    }
  } finally {
    socket.destroy();
  }
  if (launch.failure !== undefined) throw launch.failure;
  const status = await launch.ended;
  if (status !== undefined && status.code !== 0) {
    throw new RuntimeError('Internal', `the launcher of a plan has ended with code ${status.code}`);
  }
}

/** Whether the child is ready. */
function takeReport(launch: Launch, report: Report, onLog: (level: number, text: string) => void): boolean {
  switch (report.type) {
    case 'pid':
      launch.replaced.push(...launch.pids.splice(0).map(reap));
      launch.pids.push(report.pid);
      if (launch.failure !== undefined) throw launch.failure;
      return false;
    case 'ready':
      return true;
    case 'error':
      launch.failure ??= new StepError(report.failure);
      if (report.failure.list === CHILD_LIST && launch.pids.length === 0) return false;
      throw launch.failure;
    case 'log':
      onLog(report.level, report.text);
      return false;
  }
}

function reap(pid: number): Promise<unknown> {
  return waitPidfd(pidfdOpen(pid));
}

function killLauncher(launch: Launch): void {
  if (!launch.hasEnded) pidfdSendSignal(launch.launcher.pidfd, SIGKILL);
}

/** Our child, not reaped yet: the pid is still its own. */
async function killChild(pid: number): Promise<void> {
  const pidfd = pidfdOpen(pid);
  try {
    pidfdSendSignal(pidfd, SIGKILL);
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  }
  await waitPidfd(pidfd);
}
