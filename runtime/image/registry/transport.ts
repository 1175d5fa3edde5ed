import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';
import type { Fd } from '../../../native/index.js';
import { RuntimeError } from '../../errors.js';
import type { TlsSettings } from './endpoint.js';
import { proxyFor } from './proxy.js';

/**
 * HTTP/1.1 to registries over Node's own client: per-host trust, client certificates and proxies, connections kept for
 * the next request. It follows no redirect and knows no credentials: its callers decide where a header may go.
 */

export interface TransportRequest {
  readonly url: URL;
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string;
  readonly tls: TlsSettings;
  /** Time for the connection, TLS included. */
  readonly dialTimeoutMs: number;
  /** Time for the answer's head, and between two pieces of its body. */
  readonly idleTimeoutMs: number;
  readonly signal: AbortSignal;
}

export interface TransportResponse {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  /** Must be read to the end or left early by `return`, which drops the connection. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Drops the body without reading a long one. */
  discard(): void;
  /**
   * Gives the connection of a plain body away, in the stead of reading it: `take` receives its descriptor, to be
   * duplicated at once, and what was read of the body already. Undefined, and nothing happened, if the bytes of this
   * body are not those on the connection (TLS, chunks) or not so many.
   */
  giveAway<T>(bytes: number, take: (connection: Connection) => T): Promise<T | undefined>;
}

export interface Connection {
  readonly host: string;
  readonly fd: Fd;
  /** The start of the body. */
  readonly head: Buffer;
  readonly idleTimeoutMs: number;
}

/** No connection, or none that lasted. `message` is for people; `transient` says that another try may help. */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError';

  constructor(
    message: string,
    readonly transient: boolean,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

const keepAliveMs = 15_000;
const systemTrust = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/cert.pem',
];

type Agent = http.Agent | https.Agent;

export class Transport {
  /** By TLS settings and proxy. */
  private readonly agents = new Map<string, Promise<Agent>>();
  private readonly environment: NodeJS.ProcessEnv;

  constructor(environment: NodeJS.ProcessEnv) {
    this.environment = environment;
  }

  async send(request: TransportRequest): Promise<TransportResponse> {
    request.signal.throwIfAborted();
    const proxy = proxyFor(request.url, this.environment);
    const agent = await this.agentFor(request, proxy);
    const response = await exchange(request, agent, proxy);
    return {
      status: response.statusCode ?? 0,
      headers: response.headers,
      body: readBody(response, request),
      discard: () => discard(response),
      giveAway: (bytes, take) => giveAway({ request, response, bytes }, take),
    };
  }

  async close(): Promise<void> {
    const agents = [...this.agents.values()];
    this.agents.clear();
    for (const agent of await Promise.all(agents)) agent.destroy();
  }

  private agentFor({ url, tls: settings }: TransportRequest, proxy: URL | undefined): Promise<Agent> {
    if (url.protocol === 'http:') return this.cached('http', async () => new http.Agent(agentOptions));
    const key = createHash('sha256')
      .update(JSON.stringify([settings, proxy?.href]))
      .digest('hex');
    return this.cached(key, async () => secureAgent(await secureContext(settings), settings, proxy));
  }

  private cached(key: string, make: () => Promise<Agent>): Promise<Agent> {
    const known = this.agents.get(key);
    if (known !== undefined) return known;
    const made = make();
    this.agents.set(key, made);
    made.catch(() => this.agents.delete(key));
    return made;
  }
}

const agentOptions = { keepAlive: true, timeout: keepAliveMs, scheduling: 'lifo' } as const;

/** One context for all connections: reading the system's list of authorities takes 20 ms. */
async function secureContext(settings: TlsSettings): Promise<tls.SecureContext> {
  const system = await readFirst(systemTrust);
  try {
    return tls.createSecureContext({
      ca: [...(system === undefined ? tls.rootCertificates : [system]), ...settings.ca],
      cert: settings.client.map(({ cert }) => cert),
      key: settings.client.map(({ key }) => key),
    });
  } catch (error) {
    throw new RuntimeError('FailedPrecondition', 'read certificates of the registry configuration', {
      cause: error,
      reason: 'RegistryConfigInvalid',
    });
  }
}

async function readFirst(files: readonly string[]): Promise<string | undefined> {
  for (const file of files) {
    const text = await readFile(file, 'utf8').catch(() => undefined);
    if (text !== undefined) return text;
  }
  return undefined;
}

function secureAgent(context: tls.SecureContext, settings: TlsSettings, proxy: URL | undefined): https.Agent {
  const agent = new https.Agent({
    ...agentOptions,
    secureContext: context,
    rejectUnauthorized: !settings.skipVerify,
  });
  if (proxy !== undefined) tunnelThrough(agent, proxy, { context, skipVerify: settings.skipVerify });
  return agent;
}

type CreateConnection = (
  options: { host?: string | null; port?: string | number | null; servername?: string },
  done: (error: Error | null, socket?: net.Socket) => void,
) => void;

/** Makes the agent open its connections by CONNECT (RFC 9110 §9.3.6). */
function tunnelThrough(
  agent: https.Agent,
  proxy: URL,
  { context, skipVerify }: { context: tls.SecureContext; skipVerify: boolean },
): void {
  const createConnection: CreateConnection = ({ host, port, servername }, done) => {
    const target = `${net.isIPv6(host ?? '') ? `[${host}]` : host}:${port}`;
    const client = proxy.protocol === 'https:' ? https : http;
    const request = client.request({
      host: proxy.hostname.replace(/^\[|\]$/g, ''),
      port: proxy.port === '' ? (proxy.protocol === 'https:' ? 443 : 80) : proxy.port,
      method: 'CONNECT',
      path: target,
      headers: { host: target, ...proxyAuthorization(proxy) },
      timeout: 30_000,
      agent: false,
    });
    request.on('connect', (response, socket) => {
      if (response.statusCode === 200) {
        const name = servername === undefined || net.isIP(servername) !== 0 ? {} : { servername };
        const secured = tls.connect({
          socket,
          secureContext: context,
          rejectUnauthorized: !skipVerify,
          ...name,
          host: host ?? '',
        });
        return done(null, secured);
      }
      socket.destroy();
      return done(
        new ConnectionError(`proxy ${proxy.host} answered ${response.statusCode} for ${target}`, true),
      );
    });
    request.on('timeout', () => request.destroy(new Error('timed out')));
    request.on('error', (error) =>
      done(new ConnectionError(`proxy ${proxy.host}: ${error.message}`, true, { cause: error })),
    );
    request.end();
  };
  Object.assign(agent, { createConnection });
}

function proxyAuthorization(proxy: URL): Record<string, string> {
  if (proxy.username === '') return {};
  const user = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(user).toString('base64')}` };
}

/** Sends a request and waits for the head of the answer. */
function exchange(
  request: TransportRequest,
  agent: Agent,
  proxy: URL | undefined,
): Promise<http.IncomingMessage> {
  const { url, signal } = request;
  return new Promise((resolve, reject) => {
    const sent = openRequest(request, agent, proxy);
    const failed = (error: Error): void => reject(abortReason(signal) ?? connectionError(url, error));
    const late = (what: string): void => void sent.destroy(new ConnectionError(`${url.host}: ${what}`, true));
    const dial = setTimeout(
      () => late(`no connection in ${request.dialTimeoutMs} ms`),
      request.dialTimeoutMs,
    );
    const head = setTimeout(() => late(`no answer in ${request.idleTimeoutMs} ms`), request.idleTimeoutMs);
    sent.on('socket', (socket) => {
      const connected = (): void => clearTimeout(dial);
      if (!socket.connecting && (!(socket instanceof tls.TLSSocket) || sent.reusedSocket)) return connected();
      return void socket.once(socket instanceof tls.TLSSocket ? 'secureConnect' : 'connect', connected);
    });
    sent.on('response', (response) => {
      clearTimeout(dial);
      clearTimeout(head);
      resolve(response);
    });
    sent.on('error', failed);
    sent.on('close', () => {
      clearTimeout(dial);
      clearTimeout(head);
    });
    sent.end(request.body);
  });
}

function abortReason({ aborted, reason }: AbortSignal): Error | undefined {
  if (!aborted) return undefined;
  return reason instanceof Error ? reason : new Error('aborted');
}

function openRequest(request: TransportRequest, agent: Agent, proxy: URL | undefined): http.ClientRequest {
  const { url, method, signal } = request;
  const headers = Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [
      name,
      typeof value === 'string' ? value : [...value],
    ]),
  );
  if (url.protocol === 'https:') return https.request(url, { method, headers, agent, signal });
  if (proxy === undefined) return http.request(url, { method, headers, agent, signal });
  return http.request({
    host: proxy.hostname,
    port: proxy.port === '' ? 80 : proxy.port,
    path: url.href,
    method,
    headers: { ...headers, host: url.host, ...proxyAuthorization(proxy) },
    agent,
    signal,
  });
}

/** The chunks of a body. The clock runs only while we wait for the peer, not while our own consumer is slow. */
async function* readBody(
  response: http.IncomingMessage,
  request: TransportRequest,
): AsyncIterable<Uint8Array> {
  const { url, signal, idleTimeoutMs } = request;
  const stalled = (): void =>
    void response.destroy(new ConnectionError(`${url.host}: no data for ${idleTimeoutMs} ms`, true));
  let clock = setTimeout(stalled, idleTimeoutMs);
  try {
    for await (const chunk of response) {
      clearTimeout(clock);
      yield chunk as Buffer;
      clock = setTimeout(stalled, idleTimeoutMs);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw connectionError(url, error);
  } finally {
    clearTimeout(clock);
  }
}

interface Gift {
  readonly request: TransportRequest;
  readonly response: http.IncomingMessage;
  readonly bytes: number;
}

async function giveAway<T>(
  { request, response, bytes }: Gift,
  take: (connection: Connection) => T,
): Promise<T | undefined> {
  const { headers, socket } = response;
  if (socket instanceof tls.TLSSocket || headers['transfer-encoding'] !== undefined) return undefined;
  if (headers['content-length'] !== String(bytes)) return undefined;
  // Outside the parser, which may be in the middle of what was read from the connection.
  await new Promise(setImmediate);
  const fd = descriptorOf(socket);
  if (fd === undefined || response.destroyed) return undefined;
  const head = readBuffered(response);
  try {
    return take({
      host: request.url.host,
      fd,
      head,
      idleTimeoutMs: request.idleTimeoutMs,
    });
  } finally {
    response.on('error', () => undefined);
    response.destroy();
  }
}

/**
 * What was read of a body and is still on its way through two buffers: reading the socket's brings it into the
 * response's, by way of the parser. Nothing more is read from the connection before our turn ends.
 */
function readBuffered(response: http.IncomingMessage): Buffer {
  const pieces: Buffer[] = [];
  do {
    const piece = response.read() as Buffer | null;
    if (piece !== null) pieces.push(piece);
  } while (response.readableLength > 0 || response.socket.read() !== null);
  return Buffer.concat(pieces);
}

/** Node has no public way to it. Where there is none the body is read as any other. */
function descriptorOf(socket: net.Socket): Fd | undefined {
  const handle: unknown = Reflect.get(socket, '_handle');
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined;
  return typeof fd === 'number' && fd >= 0 ? fd : undefined;
}

/** A short rest is read, so that the connection can serve the next request; a long one is not worth it. */
function discard(response: http.IncomingMessage): void {
  const length = Number(response.headers['content-length'] ?? Infinity);
  response.on('error', () => undefined);
  if (length <= 64 * 1024) response.resume();
  else response.destroy();
}

const hints: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'the name service does not answer',
  EHOSTUNREACH: 'no route to host',
  ENETUNREACH: 'network unreachable',
  ETIMEDOUT: 'connection timed out',
  EPIPE: 'connection closed',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is signed by itself and not trusted',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate authority is not trusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate authority is not trusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate authority is not trusted',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host',
  EPROTO: 'it does not speak TLS as we do; plain http has to be configured in hosts.toml',
  HPE_INVALID_CONSTANT: 'it does not speak HTTP; https may be needed',
};

const permanent = /^(?:CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|ERR_TLS_CERT|EPROTO|ERR_SSL_|HPE_)/;

/** Whether it failed because what answered is no TLS. Newer versions of Node.js name OpenSSL's reason. */
export function speaksNoTls(error: unknown): boolean {
  if (!(error instanceof ConnectionError)) return false;
  return ['EPROTO', 'ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_SSL_PACKET_LENGTH_TOO_LONG'].includes(
    innermostCode(error.cause),
  );
}

function connectionError(url: URL, error: unknown): Error {
  if (error instanceof ConnectionError || error instanceof RuntimeError) return error;
  const code = innermostCode(error);
  const what = hints[code] ?? (error instanceof Error ? error.message : String(error));
  return new ConnectionError(`${url.host}: ${what}`, !permanent.test(code), { cause: error });
}

/** "Happy eyeballs" wraps the failures of all addresses in an AggregateError. */
function innermostCode(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return innermostCode(error.errors[0]);
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}
