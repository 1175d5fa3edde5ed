import type { AttachRequest, AttachResponse } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Session } from '../../runtime/container/types.js';
import { findRunningContainer } from '../find.js';
import type { Call } from '../rpc.js';
import { checkStreams } from '../translate/streams.js';

export async function attach(request: AttachRequest, { runtime, streaming }: Call): Promise<AttachResponse> {
  const { id } = findRunningContainer(runtime, request.containerId);
  const { tty } = request;
  const streams = checkStreams(request);
  const open = (): Promise<Session> => runtime.containers.attach(id, streams);
  const about = { containerId: id };
  return { url: await streaming.offer({ kind: 'attach', about, request: { tty, ...streams }, open }) };
}
