import type { Duplex } from 'node:stream';
import type { PortForwardRequest, PortForwardResponse } from '../../protos/gen/cri/runtime/v1/api.js';
import { RuntimeError } from '../../runtime/errors.js';
import { findSandbox } from '../find.js';
import type { Call } from '../rpc.js';
import { refuse } from '../translate/check.js';

/** The ports of the request only number the channels of old WebSocket clients; others name one per connection. */
export async function portForward(
  { podSandboxId, port: ports }: PortForwardRequest,
  { runtime, streaming }: Call,
): Promise<PortForwardResponse> {
  const { id, state } = findSandbox(runtime, podSandboxId);
  if (state.phase !== 'ready') throw new RuntimeError('FailedPrecondition', `pod sandbox is ${state.phase}`);
  if (ports.length > MAX_PORTS) throw refuse('port', `must have at most ${MAX_PORTS} entries`);
  if (ports.some((port) => port < 1 || port > 65_535)) throw refuse('port', 'must be between 1 and 65535');
  const connect = (port: number, signal: AbortSignal): Promise<Duplex> =>
    runtime.sandboxes.portForward(id, port, signal);
  return { url: await streaming.offer({ kind: 'portforward', about: { podSandboxId: id }, ports, connect }) };
}

/** A channel's number is one byte, and every port takes two. */
const MAX_PORTS = 120;
