import { within } from '../base/deadline.js';
import { RuntimeError } from '../errors.js';
import { openPipes, type Pipes } from './pipes.js';
import type { Monitor } from './deps.js';
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
    exited: endOf(monitor, pipes),
    resize: async (columns, rows) => {
      if (tty) await monitor.resize(columns, rows);
    },
    close: () => {
      pipes.destroy();
    },
  };
}

/** The monitor ends the output with the container, or for a client that does not read: the container goes on then. */
function endOf(monitor: Monitor, { streams }: Pipes): Promise<number> {
  const outputs = [streams.stdout, streams.stderr].filter((stream) => stream !== undefined);
  let open = outputs.length;
  const end = new Promise<number>((resolve, reject) => {
    const dropped = async (): Promise<void> => {
      if (await within(monitor.exited, EXIT_MS)) return;
      reject(new RuntimeError('ResourceExhausted', 'the client has not read the output in time'));
    };
    for (const output of outputs) {
      output.once('end', () => {
        open--;
        if (open === 0) void dropped();
      });
    }
    void monitor.exited.then(({ code }) => {
      resolve(code);
    });
  });
  // Who waits for it gets the error; nobody has to.
  end.catch(() => undefined);
  return end;
}

/** The news of the container's end may come a moment after that of its output. */
const EXIT_MS = 1000;
