import { RuntimeError } from '../errors.js';
import { openPipes } from './pipes.js';
import type { LiveContainer } from './service.js';
import type { Session, SessionRequest } from './types.js';

/** Connects streams to the container's own process: its output from now on, and its input. */
export async function attachSession(live: LiveContainer, request: SessionRequest): Promise<Session> {
  const { monitor } = live;
  const { state, request: made } = live.value;
  if (state.phase !== 'running' || monitor === undefined) {
    throw new RuntimeError('FailedPrecondition', `container is ${state.phase}, not running`);
  }
  const { tty, stdin } = made.stdio;
  const pipes = openPipes({ ...request, stdin: request.stdin && stdin, stderr: request.stderr && !tty });
  try {
    await monitor.attach(pipes.ends);
  } catch (error) {
    pipes.destroy();
    throw error;
  } finally {
    pipes.closeEnds();
  }
  return {
    ...pipes.streams,
    exited: monitor.exited.then(({ code }) => code),
    resize: async (columns, rows) => {
      if (tty) await monitor.resize(columns, rows);
    },
    close: () => {
      pipes.destroy();
    },
  };
}
