import { closeFd, setWindowSize, type Fd } from '../../native/index.js';
import { RuntimeError } from '../errors.js';
import { StepError, type MonitorExecution } from './deps.js';
import { withExecCgroup } from './exec-cgroup.js';
import { execPlan, seccompOf } from './exec-sync.js';
import { openPipes, type Pipes } from './pipes.js';
import type { Containers, LiveContainer } from './service.js';
import type { ExecSessionRequest, Session } from './types.js';

/** Runs a command in the container whose streams are the caller's. */
export async function execSession(
  room: Containers,
  live: LiveContainer,
  request: ExecSessionRequest,
): Promise<Session> {
  const { deps } = room;
  const { monitor } = live;
  const { argv, tty } = request;
  if (live.value.state.phase !== 'running' || monitor === undefined) {
    throw new RuntimeError('FailedPrecondition', `container is ${live.value.state.phase}, not running`);
  }
  const seccomp = await seccompOf(room, live);
  return withExecCgroup(room, live, async (cgroup, ended) => {
    const plan = execPlan(room, live, { argv, tty, join: cgroup.join, seccomp });
    const pipes = openPipes(tty ? { stdin: true, stdout: true, stderr: false } : request);
    try {
      const encoded = deps.plans.encode(plan);
      const ends = tty ? { tty } : pipes.ends;
      const execution = await monitor.exec({ plan: encoded, cgroupPath: cgroup.path, ...ends });
      execution.exited.then(ended, ended);
      return openSession(room, execution, pipes);
    } catch (error) {
      pipes.destroy();
      throw error instanceof StepError ? deps.plans.explain(plan, error.failure) : error;
    } finally {
      pipes.closeEnds();
    }
  });
}

function openSession(room: Containers, execution: MonitorExecution, pipes: Pipes): Session {
  const session = sessionOf(execution, pipes);
  try {
    if (execution.terminal !== undefined) startTerminal(room, execution.terminal, pipes);
    return session;
  } catch (error) {
    session.close();
    throw error;
  }
}

function startTerminal({ deps }: Containers, master: Fd, { ends: { stdin, stdout } }: Pipes): void {
  if (stdin !== undefined && stdout !== undefined)
    deps.relayTerminal({ master, input: stdin, output: stdout });
}

function sessionOf({ exited, kill, terminal }: MonitorExecution, pipes: Pipes): Session {
  let running = true;
  let open = true;
  const code = exited.then((exit) => {
    running = false;
    return exit.code;
  });
  // Who waits for it gets the error; nobody has to.
  code.catch(() => undefined);
  return {
    ...pipes.streams,
    exited: code,
    resize: async (columns, rows) => {
      if (terminal !== undefined && open) setWindowSize(terminal, columns, rows);
    },
    close: () => {
      if (!open) return;
      open = false;
      if (running) kill().catch(() => undefined);
      pipes.destroy();
      if (terminal !== undefined) closeFd(terminal);
    },
  };
}
