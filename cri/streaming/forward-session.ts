import type { Duplex } from 'node:stream';
import { messageOf } from '../../runtime/errors.js';
import type { ForwardRequest } from './client.js';

/** Connects one request with the pod. Each side's half-close is handed to the other. */
export async function runForward(
  { port, data, error, ended }: ForwardRequest,
  connect: (port: number, signal: AbortSignal) => Promise<Duplex>,
): Promise<void> {
  const left = new AbortController();
  const leave = (): void => {
    left.abort();
  };
  ended.addEventListener('abort', leave, { once: true });
  data.once('close', leave);
  try {
    const target = await connect(port, left.signal);
    if (data.destroyed) {
      target.destroy();
      return;
    }
    // Clients wait for the end of `error` once nothing more comes from the pod.
    target.once('end', () => error.end());
    await splice(data, target);
    error.end();
  } catch (failure) {
    error.end(messageOf(failure));
    data.destroy();
  } finally {
    ended.removeEventListener('abort', leave);
  }
}

/** Resolves when both have closed. */
function splice(client: Duplex, target: Duplex): Promise<void> {
  return new Promise((resolve) => {
    let open = 2;
    const closed = (one: Duplex, other: Duplex): void => {
      // After a clean end the other side still has to send what it holds.
      if (!one.readableEnded || !one.writableFinished) other.destroy();
      open--;
      if (open === 0) resolve();
    };
    client.on('error', () => undefined);
    target.on('error', () => undefined);
    client.once('close', () => {
      closed(client, target);
    });
    target.once('close', () => {
      closed(target, client);
    });
    client.pipe(target);
    target.pipe(client);
  });
}
