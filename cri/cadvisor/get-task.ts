import type { GetRequest, GetResponse } from '../../protos/gen/containerd/services/tasks/v1/tasks.js';
import { type Process, Status } from '../../protos/gen/containerd/v1/types/task.js';
import type { ContainerState } from '../../runtime/container/types.js';
import type { SandboxState } from '../../runtime/sandbox/types.js';
import { RuntimeError } from '../../runtime/errors.js';
import type { Call } from '../rpc.js';
import { find } from './find.js';
import { toTimestamp } from './timestamp.js';

type State = Pick<Process, 'pid' | 'status' | 'exitStatus' | 'exitedAt'>;

const noProcess: State = { pid: 0, status: Status.UNKNOWN, exitStatus: 0, exitedAt: undefined };

/**
 * The first process of a container or sandbox. UNKNOWN while it is being made: cAdvisor asks again then.
 *
 * @throws NotFound, Unimplemented for a process that was executed in it
 */
export function getTask({ containerId, execId }: GetRequest, { runtime }: Call): GetResponse {
  if (execId !== '') throw new RuntimeError('Unimplemented', 'exec_id: only the first process is known here');
  const { container, sandbox } = find(runtime, containerId);
  const state = sandbox === undefined ? ofContainer(container.state) : ofSandbox(sandbox.state);
  return { process: { containerId, id: containerId, ...state } };
}

function ofContainer(state: ContainerState): State {
  switch (state.phase) {
    case 'created':
      return { ...noProcess, pid: state.init.pid, status: Status.CREATED };
    case 'running':
      return { ...noProcess, pid: state.init.pid, status: Status.RUNNING };
    case 'paused':
      return { ...noProcess, pid: state.init.pid, status: Status.PAUSED };
    case 'exited':
    case 'removing':
      return {
        ...noProcess,
        status: Status.STOPPED,
        exitStatus: state.exit?.code ?? 0,
        exitedAt: state.exit && toTimestamp(state.exit.finishedAtNs),
      };
    case 'creating':
    case 'unknown':
      return noProcess;
  }
}

function ofSandbox(state: SandboxState): State {
  switch (state.phase) {
    case 'creating':
      return noProcess;
    case 'ready':
      return { ...noProcess, pid: state.pause.pid, status: Status.RUNNING };
    case 'notready':
    case 'removing':
      return { ...noProcess, status: Status.STOPPED };
  }
}
