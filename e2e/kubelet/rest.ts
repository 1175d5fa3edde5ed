import https from 'node:https';
import { text } from 'node:stream/consumers';
import { once } from 'node:events';
import type http from 'node:http';

/** A server of Kubernetes, spoken to in JSON: the API server, or the kubelet's own. Their certificates are self-made. */
export interface Rest {
  get<T>(path: string): Promise<T>;
  /** The answer as it is. */
  text(path: string): Promise<string>;
  send<T>(method: string, path: string, body?: unknown, contentType?: string): Promise<T>;
  /** Each object of a watch from now on, as it changes. Ends with the signal. */
  watch<T>(path: string, signal: AbortSignal): AsyncGenerator<WatchEvent<T>>;
  close(): void;
}

export interface WatchEvent<T> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: T;
}

/** An answer that is no success. */
export class RestError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export function connectRest(host: string, port: number, token?: string): Rest {
  const agent = new https.Agent({ keepAlive: true, rejectUnauthorized: false });
  const open = async (
    method: string,
    path: string,
    { body, type = 'application/json', signal }: RequestBody = {},
  ): Promise<http.IncomingMessage> => {
    const request = https.request({
      ...{ agent, host, port, method, path, signal },
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': type }),
      },
    });
    request.end(body === undefined ? undefined : JSON.stringify(body));
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    const status = response.statusCode ?? 0;
    if (status >= 300) throw new RestError(status, `${method} ${path}: ${status} ${await text(response)}`);
    return response;
  };
  return {
    get: async <T>(path: string) => JSON.parse(await text(await open('GET', path))) as T,
    text: async (path) => text(await open('GET', path)),
    send: async <T>(method: string, path: string, body?: unknown, type?: string) => {
      const answer = await open(method, path, { body, ...(type === undefined ? {} : { type }) });
      return JSON.parse(await text(answer)) as T;
    },
    watch: async function* <T>(path: string, signal: AbortSignal) {
      const response = await open('GET', path, { signal });
      // Whoever stops reading lets the connection go.
      response.on('error', () => undefined);
      try {
        for await (const line of linesOf(response)) yield JSON.parse(line) as WatchEvent<T>;
      } finally {
        response.destroy();
      }
    },
    close: () => agent.destroy(),
  };
}

interface RequestBody {
  readonly body?: unknown;
  readonly type?: string;
  readonly signal?: AbortSignal;
}

async function* linesOf(stream: http.IncomingMessage): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of stream.setEncoding('utf8') as AsyncIterable<string>) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
}
