import type { Duplex } from 'node:stream';
import type { CommandClient, CommandRequest, ForwardRequest } from './client.js';
import { type SpdyTransport, serveSpdy } from './spdy.js';

const STREAMS_TIMEOUT_MS = 30_000;

/** Versions of remotecommand over SPDY, best first. Without a header the client speaks the first, which has no name. */
export const commandProtocols = ['v4', 'v3', 'v2'].map((version) => `${version}.channel.k8s.io`);
export const firstCommandProtocol = 'channel.k8s.io';

/** Waits for the streams that the request announces. @throws when the client goes, or does not open them in time */
export async function acceptCommand(
  transport: SpdyTransport,
  protocol: string,
  request: CommandRequest,
): Promise<CommandClient> {
  const expected = expectedStreams(protocol, request);
  const streams = new Map<string, Duplex>();
  return new Promise((resolve, reject) => {
    const connection = serveSpdy(transport, (headers, stream) => {
      const type = headers.get('streamtype') ?? '';
      if (!expected.has(type) || streams.has(type)) {
        stream.destroy();
        return;
      }
      streams.set(type, stream);
      const error = streams.get('error');
      if (streams.size < expected.size || error === undefined) return;
      clearTimeout(timer);
      resolve({
        stdin: streams.get('stdin'),
        stdout: streams.get('stdout'),
        stderr: streams.get('stderr'),
        resize: streams.get('resize'),
        error,
        takesStatus: protocol === 'v4.channel.k8s.io',
        ended: connection.ended,
        close: () => {
          connection.close();
        },
      });
    });
    const timer = setTimeout(() => {
      connection.destroy();
    }, STREAMS_TIMEOUT_MS);
    connection.ended.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(new Error('the client has opened too few streams'));
    });
  });
}

function expectedStreams(protocol: string, request: CommandRequest): ReadonlySet<string> {
  const resizes = protocol === 'v4.channel.k8s.io' || protocol === 'v3.channel.k8s.io';
  return new Set([
    'error',
    ...(request.stdin ? ['stdin'] : []),
    ...(request.stdout ? ['stdout'] : []),
    ...(request.stderr && !request.tty ? ['stderr'] : []),
    ...(request.tty && resizes ? ['resize'] : []),
  ]);
}

/** Pairs of streams, data and error, which belong together by their request id. Resolves when the client has gone. */
export function acceptForwards(
  transport: SpdyTransport,
  onForward: (request: ForwardRequest) => void,
): Promise<void> {
  const halves = new Map<string, { readonly type: string; readonly port: string; readonly stream: Duplex }>();
  return new Promise((resolve) => {
    const connection = serveSpdy(transport, (headers, stream) => {
      const type = headers.get('streamtype') ?? '';
      const port = headers.get('port') ?? '';
      const id = headers.get('requestid') ?? '';
      if ((type !== 'data' && type !== 'error') || parsePort(port) === undefined || id === '') {
        stream.destroy();
        return;
      }
      const other = halves.get(id);
      if (other === undefined) {
        halves.set(id, { type, port, stream });
        stream.once('close', () => halves.delete(id));
        return;
      }
      halves.delete(id);
      if (other.type === type || other.port !== port) {
        stream.destroy();
        other.stream.destroy();
        return;
      }
      const [data, error] = type === 'data' ? [stream, other.stream] : [other.stream, stream];
      onForward({ port: Number(port), data, error, ended: connection.ended });
    });
    connection.ended.addEventListener('abort', () => {
      resolve();
    });
  });
}

export function parsePort(text: string): number | undefined {
  const port = Number(text);
  return /^\d{1,5}$/.test(text) && port >= 1 && port <= 65_535 ? port : undefined;
}
