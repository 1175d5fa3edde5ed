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
  const end = endOf(monitor, pipes);
  return {
    ...pipes.streams,
    exited: end.code,
    resize: async (columns, rows) => {
      if (tty) await monitor.resize(columns, rows);
    },
    close: () => {
      end.forget();
      pipes.destroy();
    },
  };
}

/** The news of the container's end may come a moment after that of its output. */
const EXIT_MS = 1000;

interface End {
  readonly code: Promise<number>;
  forget(): void;
}

/** The monitor ends the output with the container, or for a client that does not read: the container goes on then. */
function endOf(monitor: Monitor, { streams }: Pipes): End {
  const outputs = [streams.stdout, streams.stderr].filter((stream) => stream !== undefined);
  let open = outputs.length;
  let forget = (): void => undefined;
  const code = new Promise<number>((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined;
    const removeListener = onExit(monitor, resolve);
    forget = () => {
      removeListener();
      clearTimeout(timer);
    };
    const drop = (): void => {
      reject(new RuntimeError('ResourceExhausted', 'the client has not read the output in time'));
    };
    for (const output of outputs) {
      output.once('end', () => {
        open--;
        if (open === 0) timer = setTimeout(drop, EXIT_MS);
      });
    }
  });
  // Who waits for it gets the error; nobody has to.
  code.catch(() => undefined);
  return { code, forget };
}

const exitListeners = new WeakMap<Monitor, Set<(code: number) => void>>();

/** What waits for a promise waits until it settles: a container outlives any number of clients. */
function onExit(monitor: Monitor, listener: (code: number) => void): () => void {
  const listeners = exitListeners.get(monitor) ?? new Set();
  if (!exitListeners.has(monitor)) {
    exitListeners.set(monitor, listeners);
    void monitor.exited.then(({ code }) => {
      for (const tell of listeners) tell(code);
    });
  }
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
  };
}
