import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { isErrno, type StepFailure } from '../errors.js';
import type { MonitorExit } from '../container/deps.js';
import { MONITOR_EXIT_NAME, decodeFrame, type FrameValues } from './frames.js';

/** How a container ended, as its monitor tells: {@link MonitorExit} and what only logs and metrics show. */
export interface ContainerExit extends MonitorExit {
  /** Processes of the container's cgroup that the kernel killed for memory. */
  readonly oomKills: bigint;
  /** Output that could not be written to the log. */
  readonly logLostBytes: bigint;
}

/** The exit that a monitor wrote before it ended; undefined if there is none. @throws DataLoss for a torn record */
export async function readExitRecord(stateDir: string): Promise<ContainerExit | undefined> {
  try {
    return exitOf(decodeFrame(await readFile(path.join(stateDir, MONITOR_EXIT_NAME))).values);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Reads an EXITED frame's values. */
export function exitOf(values: FrameValues): ContainerExit {
  return {
    code: values.exitCode ?? 255,
    signal: values.exitSignal ?? 0,
    oomKilled: values.oom === 1,
    oomKills: values.oomKills ?? 0n,
    startedAtNs: values.startedAtNs ?? 0n,
    finishedAtNs: values.atNs ?? 0n,
    logLostBytes: values.logLostBytes ?? 0n,
    failure: values.errno === undefined ? undefined : stepFailure(values),
    lost: false,
  };
}

function stepFailure({
  errno = 0,
  syscall = '',
  detail = '',
  stepList,
  stepIndex,
  stepKind,
}: FrameValues): StepFailure {
  return { list: stepList, index: stepIndex, kind: stepKind, errno, syscall, detail };
}

/** The exit of a container whose monitor died before it could tell. */
export function lostExit(): ContainerExit {
  return {
    code: 255,
    signal: 0,
    oomKilled: false,
    oomKills: 0n,
    startedAtNs: 0n,
    finishedAtNs: BigInt(Date.now()) * 1_000_000n,
    logLostBytes: 0n,
    failure: undefined,
    lost: true,
  };
}
