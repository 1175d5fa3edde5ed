import { constants } from 'node:os';
import type { MonitorExit } from './deps.js';
import type { StopInProgress } from './stop.js';

const SIGKILL = 9;

/** What ended a container, as far as its exit code does not say it; empty where there is nothing to add. */
export function exitMessage(
  { signal, oomKilled }: Pick<MonitorExit, 'signal' | 'oomKilled'>,
  stop: Pick<StopInProgress, 'firstSignal' | 'waitedMs'> | undefined,
  memoryLimit: number | undefined,
): string {
  if (oomKilled) return memoryMessage(memoryLimit);
  if (signal === 0) return '';
  const killed = `killed by ${signalText(signal)}`;
  if (signal === stop?.firstSignal) return `${killed}, as it was asked to stop`;
  if (signal !== SIGKILL || stop?.waitedMs === undefined) return `${killed}, which Podwright did not send`;
  const waited = Math.round(stop.waitedMs / 100) / 10;
  return `${killed}: it had not ended ${waited} s after the stop's ${signalText(stop.firstSignal)}`;
}

function memoryMessage(limit: number | undefined): string {
  return limit === undefined || limit <= 0
    ? 'killed by the kernel: the memory of its pod, or of the node, was used up'
    : `killed by the kernel: its memory limit of ${limit} bytes was used up (raise it, or use less)`;
}

const names: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.signals).map(([name, number]) => [number, name]),
);

/** `signal 15 (SIGTERM)` */
function signalText(signal: number): string {
  const name = names.get(signal);
  return name === undefined ? `signal ${signal}` : `signal ${signal} (${name})`;
}
