import { chmod, lstat, unlink } from 'node:fs/promises';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import net from 'node:net';
import type { Logger } from '../../runtime/base/logger.js';
import { isErrno, messageOf, wrapError } from '../../runtime/errors.js';
import type { MetricsAddress } from './address.js';

export interface MetricsServer {
  readonly port: number | undefined;
  close(): Promise<void>;
}

export interface MetricsPage {
  readonly contentType: string;
  render(): Promise<string>;
}

/** Whoever may connect can hold no more than this of it. */
const maxConnections = 32;
const requestTimeoutMs = 10_000;

/**
 * Serves one page, GET /metrics, over HTTP. A unix socket may be connected to by root and its group; one that a daemon
 * left behind is replaced.
 *
 * @throws what listen(2) says
 */
export async function serveMetrics(
  address: MetricsAddress,
  page: MetricsPage,
  log: Logger,
): Promise<MetricsServer> {
  const render = shared(page.render);
  const options = { requestTimeout: requestTimeoutMs, headersTimeout: requestTimeoutMs, maxHeaderSize: 8192 };
  const server = createServer(options, (request, response) => {
    respond(request, response, { contentType: page.contentType, render }).catch((error: unknown) => {
      log.error('metrics failed', { error: messageOf(error) });
      refuse(response, 500);
    });
  });
  server.maxConnections = maxConnections;
  try {
    if ('path' in address) await listenOnPath(server, address.path);
    else await listen(server, address);
  } catch (error) {
    throw wrapError('listen for metrics on', error, 'path' in address ? address.path : address.host);
  }
  const bound = server.address();
  return {
    port: typeof bound === 'object' ? bound?.port : undefined,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  { contentType, render }: MetricsPage,
): Promise<void> {
  if (request.url?.split('?')[0] !== '/metrics') return refuse(response, 404);
  if (request.method !== 'GET') {
    response.setHeader('Allow', 'GET');
    return refuse(response, 405);
  }
  const text = await render();
  response.writeHead(200, { 'Content-Type': contentType }).end(text);
}

/** Ends the connection too: what else the client sends is not read. */
function refuse(response: ServerResponse, code: number): void {
  if (!response.headersSent) response.writeHead(code, { Connection: 'close' });
  response.end();
}

/** Who asks while an answer is being made gets the same. */
function shared(render: () => Promise<string>): () => Promise<string> {
  let current: Promise<string> | undefined;
  return () => {
    current ??= render().finally(() => {
      current = undefined;
    });
    return current;
  };
}

async function listenOnPath(server: Server, path: string): Promise<void> {
  try {
    await listen(server, { path });
  } catch (error) {
    if (!isErrno(error, 'EADDRINUSE') || !(await isAbandoned(path))) throw error;
    await unlink(path);
    await listen(server, { path });
  }
  await chmod(path, 0o660);
}

function listen(server: Server, options: net.ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
}

/** A socket to which nobody listens. */
async function isAbandoned(path: string): Promise<boolean> {
  if (!(await lstat(path)).isSocket()) return false;
  return new Promise((resolve) => {
    const connection = net.connect(path);
    connection.once('connect', () => {
      connection.destroy();
      resolve(false);
    });
    connection.once('error', (error) => resolve(isErrno(error, 'ECONNREFUSED')));
  });
}
