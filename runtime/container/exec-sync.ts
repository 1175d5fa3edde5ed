import { openCapture, type Capture } from '../../native/capture.js';
import { closeFd } from '../../native/index.js';
import { within } from '../base/deadline.js';
import { RuntimeError } from '../errors.js';
import type { Plan } from '../plan/steps.js';
import {
  StepError,
  type ExecPlanOptions,
  type Monitor,
  type MonitorExecution,
  type SeccompProgram,
} from './deps.js';
import { withExecCgroup } from './exec-cgroup.js';
import type { Containers, LiveContainer } from './service.js';
import type { ExecRequest, ExecResult } from './types.js';

/** CRI ExecSyncResponse: what one stream may bring. */
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

/**
 * Runs a command in the container and collects its output. It answers when the command exits, with what the pipes hold
 * then: a background child that keeps them open is not waited for. At the deadline everything it started is killed.
 */
export async function execSync(
  room: Containers,
  live: LiveContainer,
  request: ExecRequest,
  signal: AbortSignal,
): Promise<ExecResult> {
  const { deps } = room;
  const { monitor } = live;
  if (live.value.state.phase !== 'running' || monitor === undefined) {
    throw new RuntimeError('FailedPrecondition', `container is ${live.value.state.phase}, not running`);
  }
  const seccomp = await seccompOf(room, live);
  return withExecCgroup(room, live, async (cgroup, ended) => {
    const plan = execPlan(room, live, { argv: request.argv, tty: false, join: cgroup.join, seccomp });
    const stdout = openCapture(MAX_OUTPUT_BYTES);
    const stderr = openCapture(MAX_OUTPUT_BYTES);
    try {
      const encoded = deps.plans.encode(plan);
      const execution = await launch(monitor, { plan: encoded, stdout, stderr, cgroupPath: cgroup.path });
      const exitCode = await outcome(execution, request, signal);
      ended();
      return { stdout: stdout.finish(), stderr: stderr.finish(), exitCode };
    } catch (error) {
      stdout.finish();
      stderr.finish();
      throw error instanceof StepError ? deps.plans.explain(plan, error.failure) : error;
    }
  });
}

interface ExecCommand {
  readonly argv: readonly string[];
  readonly tty: boolean;
  readonly join: ExecPlanOptions['cgroup'];
  readonly seccomp: SeccompProgram | undefined;
}

/** The plan of a command in the container. */
export function execPlan(
  { deps }: Containers,
  live: LiveContainer,
  { argv, tty, join, seccomp }: ExecCommand,
): Plan {
  const { state, spec, request, id } = live.value;
  if (state.phase !== 'running' || spec.process === undefined) {
    throw new RuntimeError('FailedPrecondition', `container is ${state.phase}, not running`);
  }
  return deps.plans.exec({
    spec,
    process: { ...spec.process, args: argv, terminal: tty, env: execEnvironment(spec.process.env, tty) },
    init: state.init,
    sharedPid: request.sandboxNamespaces.includes('pid'),
    cgroup: join,
    seccomp,
    fileLimit: deps.fileLimit,
    keyringName: id,
  });
}

function execEnvironment(env: readonly string[] | undefined, tty: boolean): readonly string[] | undefined {
  if (!tty || env?.some((setting) => setting.startsWith('TERM=')) === true) return env;
  return [...(env ?? []), 'TERM=xterm'];
}

/** Compiled when the container was created, or now after a restart of the daemon. */
export async function seccompOf(
  { deps }: Containers,
  live: LiveContainer,
): Promise<SeccompProgram | undefined> {
  const profile = live.value.spec.linux?.seccomp;
  if (profile !== undefined) live.seccomp ??= await deps.plans.seccomp(profile);
  return live.seccomp;
}

async function launch(
  monitor: Monitor,
  {
    plan,
    stdout,
    stderr,
    cgroupPath,
  }: {
    readonly plan: Buffer;
    readonly stdout: Capture;
    readonly stderr: Capture;
    readonly cgroupPath: string;
  },
): Promise<MonitorExecution> {
  try {
    return await monitor.exec({
      plan,
      stdin: undefined,
      stdout: stdout.writeEnd,
      stderr: stderr.writeEnd,
      cgroupPath,
    });
  } finally {
    closeFd(stdout.writeEnd);
    closeFd(stderr.writeEnd);
  }
}

async function outcome(
  execution: MonitorExecution,
  { timeoutMs }: ExecRequest,
  signal: AbortSignal,
): Promise<number> {
  const kill = (): void => {
    execution.kill().catch(() => undefined);
  };
  signal.addEventListener('abort', kill, { once: true });
  try {
    if (signal.aborted) kill();
    if (timeoutMs > 0 && !(await within(execution.exited, timeoutMs))) {
      await execution.kill();
      throw new RuntimeError('DeadlineExceeded', `command timed out after ${timeoutMs} ms`);
    }
    const { code } = await execution.exited;
    signal.throwIfAborted();
    return code;
  } finally {
    signal.removeEventListener('abort', kill);
  }
}
