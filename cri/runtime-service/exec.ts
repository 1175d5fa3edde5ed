import type { ExecRequest, ExecResponse } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Session } from '../../runtime/container/types.js';
import { findRunningContainer } from '../find.js';
import type { Call } from '../rpc.js';
import { checkArguments } from '../translate/process.js';
import { checkStreams } from '../translate/streams.js';

export async function exec(request: ExecRequest, { runtime, streaming }: Call): Promise<ExecResponse> {
  const { id } = findRunningContainer(runtime, request.containerId);
  const { cmd: argv, tty } = request;
  checkArguments('cmd', argv);
  const streams = checkStreams(request);
  const open = (): Promise<Session> => runtime.containers.exec(id, { argv, tty, ...streams });
  return { url: await streaming.offer({ kind: 'exec', request: { tty, ...streams }, open }) };
}
