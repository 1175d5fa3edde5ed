import { once } from 'node:events';
import { type IncomingMessage, type RequestListener, type Server, createServer } from 'node:http';
import type { Server as SecureServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Logger } from '../../runtime/base/logger.js';
import { RuntimeError, messageOf } from '../../runtime/errors.js';
import { startIdleTimer } from './idle.js';
import type { KeyPair, KeyPairSource } from './key-pair.js';
import { Tokens } from './tokens.js';
import { type SessionTicket, refuse, serveUpgrade } from './upgrade.js';

export type { SessionTicket } from './upgrade.js';

export interface StreamingOptions {
  readonly address: string;
  /** 0: any. */
  readonly port: number;
  /** Absent: no TLS. */
  readonly keyPairs?: KeyPairSource | undefined;
  /** 0: never. */
  readonly idleTimeoutMs: number;
  readonly logger: Logger;
}

const MAX_CONNECTIONS = 4096;
const HANDSHAKE_TIMEOUT_MS = 10_000;
const httpLimits = { maxHeaderSize: 16 * 1024, requestTimeout: 30_000 };

interface Listening {
  readonly server: Server;
  readonly url: string;
  /** Shows new clients the key pair that is the right one by now; sessions go on with theirs. */
  renewKeyPair(): Promise<void>;
}

/**
 * The HTTP server to which the kubelet sends clients of exec, attach and port-forward. It listens from the first request
 * on; nothing of the protocols is loaded before a client comes.
 */
export class StreamingServer {
  private readonly tickets = new Tokens<SessionTicket>();
  private readonly sockets = new Set<Duplex>();
  private listening: Promise<Listening> | undefined;
  private closed = false;

  constructor(private readonly options: StreamingOptions) {}

  /** The URL under which the session can be had, once, within a minute. */
  async offer(ticket: SessionTicket): Promise<string> {
    if (this.closed) throw new RuntimeError('Unavailable', 'the streaming server is closed');
    this.listening ??= this.listen().catch((error: unknown) => {
      this.listening = undefined;
      throw new RuntimeError('Unavailable', 'start the streaming server', { cause: error });
    });
    const { url, renewKeyPair } = await this.listening;
    await renewKeyPair();
    return `${url}/${ticket.kind}/${this.tickets.add(ticket)}`;
  }

  /** Ends every session. */
  async close(): Promise<void> {
    this.closed = true;
    this.tickets.clear();
    for (const socket of this.sockets) socket.destroy();
    const server = (await this.listening?.catch(() => undefined))?.server;
    server?.close();
    server?.closeAllConnections();
  }

  private async listen(): Promise<Listening> {
    const { address, port, keyPairs } = this.options;
    const { server, renewKeyPair } =
      keyPairs === undefined
        ? { server: createServer(httpLimits, answerPlain), renewKeyPair: async () => undefined }
        : await secureServer(keyPairs);
    server.maxConnections = MAX_CONNECTIONS;
    server.on('upgrade', (request, socket, head) => {
      void this.upgrade(request, socket as Socket, head);
    });
    server.listen(port, address);
    await once(server, 'listening');
    const bound = server.address();
    if (bound === null || typeof bound === 'string') throw new Error('no address');
    const host = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address;
    const scheme = keyPairs === undefined ? 'http' : 'https';
    return { server, url: `${scheme}://${host}:${bound.port}`, renewKeyPair };
  }

  private async upgrade(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    socket.on('error', () => undefined);
    this.sockets.add(socket);
    const idle = startIdleTimer(this.options.idleTimeoutMs, () => {
      socket.destroy();
    });
    socket.once('close', () => {
      this.sockets.delete(socket);
      idle.stop();
    });
    const ticket = this.redeem(request.url ?? '');
    if (ticket === undefined) {
      refuse(socket, '404 Not Found', 'no session of this name: each serves once, within a minute');
      return;
    }
    socket.setNoDelay(true);
    try {
      await serveUpgrade({ request, socket, head, onActivity: idle.touch }, ticket);
    } catch (error) {
      this.options.logger.debug('streaming session failed', {
        kind: ticket.kind,
        ...ticket.about,
        error: messageOf(error),
      });
      socket.destroy();
    }
  }

  private redeem(url: string): SessionTicket | undefined {
    const [, kind, token] = /^\/(exec|attach|portforward)\/([\w-]{22})(?:\?.*)?$/.exec(url) ?? [];
    const ticket = token === undefined ? undefined : this.tickets.take(token);
    return ticket?.kind === kind ? ticket : undefined;
  }
}

const answerPlain: RequestListener = (_request, response) => {
  response.writeHead(400, { connection: 'close' }).end('an upgrade to SPDY/3.1 or websocket is needed\n');
};

async function secureServer(
  keyPairs: KeyPairSource,
): Promise<{ readonly server: SecureServer; readonly renewKeyPair: () => Promise<void> }> {
  const https = await import('node:https');
  const settings = (pair: KeyPair) => ({ cert: pair.cert, key: pair.key, minVersion: 'TLSv1.2' as const });
  let shown = await keyPairs.current();
  const server = https.createServer(
    { ...httpLimits, ...settings(shown), handshakeTimeout: HANDSHAKE_TIMEOUT_MS },
    answerPlain,
  );
  const renewKeyPair = async (): Promise<void> => {
    const pair = await keyPairs.current();
    if (pair === shown) return;
    shown = pair;
    server.setSecureContext(settings(pair));
  };
  return { server, renewKeyPair };
}
