import type { ExecRequest, ExecResponse } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Session } from '../../runtime/container/types.js';
import { findRunningContainer } from '../find.js';
import { noteCall } from '../journal/observe.js';
import type { Call } from '../rpc.js';
import { checkArguments } from '../translate/process.js';
import { checkStreams } from '../translate/streams.js';

export async function exec(
  request: ExecRequest,
  { runtime, streaming, journal }: Call,
): Promise<ExecResponse> {
  const { id } = findRunningContainer(runtime, request.containerId);
  const { cmd: argv, tty } = request;
  checkArguments('cmd', argv);
  const streams = checkStreams(request);
  const open = async (): Promise<Session> => {
    try {
      return await runtime.containers.exec(id, { argv, tty, ...streams });
    } catch (failure) {
      // The call itself was answered long ago.
      noteCall(journal, runtime, { rpc: 'exec', request, failure, durationMs: 0 });
      throw failure;
    }
  };
  const about = { containerId: id };
  return { url: await streaming.offer({ kind: 'exec', about, request: { tty, ...streams }, open }) };
}
