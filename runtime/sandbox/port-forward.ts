import { once } from 'node:events';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import { RuntimeError, wrapError } from '../errors.js';
import type { Sandboxes } from './service.js';

/** Connects to a port that something in the pod listens on at the loopback, IPv4 first, then IPv6. */
export async function forwardPort(
  { store, deps }: Sandboxes,
  id: string,
  port: number,
  signal: AbortSignal,
): Promise<Duplex> {
  const sandbox = store.find(id)?.value;
  const op = `forward port ${port} of pod sandbox`;
  if (sandbox === undefined)
    throw new RuntimeError('NotFound', op, { subject: id, cause: 'no such pod sandbox' });
  if (sandbox.state.phase !== 'ready') {
    throw new RuntimeError('FailedPrecondition', op, {
      subject: id,
      cause: `pod sandbox is ${sandbox.state.phase}`,
    });
  }
  try {
    if (sandbox.netnsPath !== undefined) return await deps.connectIn(sandbox.netnsPath, port, signal);
    return await connect('127.0.0.1', port, signal).catch(() => connect('::1', port, signal));
  } catch (error) {
    throw wrapError(op, error, id);
  }
}

async function connect(host: string, port: number, signal: AbortSignal): Promise<net.Socket> {
  const socket = net.connect({ host, port, allowHalfOpen: true });
  try {
    await once(socket, 'connect', { signal });
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}
