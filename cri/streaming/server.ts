import { once } from 'node:events';
import { type IncomingMessage, type Server, createServer } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Logger } from '../../runtime/base/logger.js';
import type { Session } from '../../runtime/container/types.js';
import { RuntimeError, messageOf } from '../../runtime/errors.js';
import type { CommandRequest, ForwardRequest } from './client.js';
import { runCommandSession } from './command-session.js';
import { runForward } from './forward-session.js';
import { Tokens } from './tokens.js';

/** A session a client may come for. */
export type SessionTicket =
  | {
      readonly kind: 'exec' | 'attach';
      readonly request: CommandRequest;
      readonly open: () => Promise<Session>;
    }
  | {
      readonly kind: 'portforward';
      readonly ports: readonly number[];
      readonly connect: (port: number, signal: AbortSignal) => Promise<Duplex>;
    };

export interface StreamingOptions {
  readonly address: string;
  /** 0: any. */
  readonly port: number;
  /** 0: never. */
  readonly idleTimeoutMs: number;
  readonly logger: Logger;
}

const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
const forwardProtocol = 'portforward.k8s.io';
const tunnelProtocol = 'SPDY/3.1+portforward.k8s.io';

/**
 * The HTTP server to which the kubelet sends clients of exec, attach and port-forward. It listens from the first request
 * on; nothing of the protocols is loaded before a client comes.
 */
export class StreamingServer {
  private readonly tickets = new Tokens<SessionTicket>();
  private readonly sockets = new Set<Duplex>();
  private listening: Promise<{ readonly server: Server; readonly url: string }> | undefined;
  private closed = false;

  constructor(private readonly options: StreamingOptions) {}

  /** The URL under which the session can be had, once, within a minute. */
  async offer(ticket: SessionTicket): Promise<string> {
    if (this.closed) throw new RuntimeError('Unavailable', 'the streaming server is closed');
    this.listening ??= this.listen().catch((error: unknown) => {
      this.listening = undefined;
      throw new RuntimeError('Unavailable', 'start the streaming server', { cause: error });
    });
    const { url } = await this.listening;
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

  private async listen(): Promise<{ readonly server: Server; readonly url: string }> {
    const { address, port } = this.options;
    const server = createServer(
      { maxHeaderSize: 16 * 1024, requestTimeout: 30_000 },
      (_request, response) => {
        response
          .writeHead(400, { connection: 'close' })
          .end('an upgrade to SPDY/3.1 or websocket is needed\n');
      },
    );
    server.on('upgrade', (request, socket, head) => {
      void this.upgrade(request, socket as Socket, head);
    });
    server.listen(port, address);
    await once(server, 'listening');
    const bound = server.address();
    if (bound === null || typeof bound === 'string') throw new Error('no address');
    const host = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address;
    return { server, url: `http://${host}:${bound.port}` };
  }

  private async upgrade(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    socket.on('error', () => undefined);
    this.sockets.add(socket);
    socket.once('close', () => this.sockets.delete(socket));
    const ticket = this.redeem(request.url ?? '');
    if (ticket === undefined) {
      refuse(socket, '404 Not Found');
      return;
    }
    if (this.options.idleTimeoutMs > 0) {
      socket.setTimeout(this.options.idleTimeoutMs, () => {
        socket.destroy();
      });
    }
    socket.setNoDelay(true);
    try {
      const isWebSocket = request.headers.upgrade?.toLowerCase() === 'websocket';
      await (isWebSocket
        ? this.overWebSocket(request, socket, head, ticket)
        : this.overSpdy(request, socket, head, ticket));
    } catch (error) {
      this.options.logger.debug('streaming session failed', {
        kind: ticket.kind,
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

  // ---- SPDY ----

  private async overSpdy(
    request: IncomingMessage,
    socket: Socket,
    head: Buffer,
    ticket: SessionTicket,
  ): Promise<void> {
    if (request.headers.upgrade?.toLowerCase() !== 'spdy/3.1') {
      refuse(socket, '400 Bad Request');
      return;
    }
    const spdy = await import('./spdy-client.js');
    const offered = protocolsOf(request);
    const known = ticket.kind === 'portforward' ? [forwardProtocol] : spdy.commandProtocols;
    const first = ticket.kind === 'portforward' ? forwardProtocol : spdy.firstCommandProtocol;
    const protocol = offered.length === 0 ? first : [...known, first].find((name) => offered.includes(name));
    if (protocol === undefined) {
      refuse(
        socket,
        '403 Forbidden',
        known.map((name) => `X-Accepted-Stream-Protocol-Versions: ${name}`),
      );
      return;
    }
    const named = offered.length === 0 ? [] : [`X-Stream-Protocol-Version: ${protocol}`];
    socket.write(
      ['HTTP/1.1 101 Switching Protocols', 'Connection: Upgrade', 'Upgrade: SPDY/3.1', ...named, '\r\n'].join(
        '\r\n',
      ),
    );
    // Frames may have come with the request.
    if (head.length > 0) socket.unshift(head);
    if (ticket.kind === 'portforward') {
      await spdy.acceptForwards(socket, forwarder(ticket));
      return;
    }
    await runCommandSession(await spdy.acceptCommand(socket, protocol, ticket.request), ticket.open);
  }

  // ---- WebSocket ----

  private async overWebSocket(
    request: IncomingMessage,
    socket: Socket,
    head: Buffer,
    ticket: SessionTicket,
  ): Promise<void> {
    const [{ WebSocketServer, createWebSocketStream }, channels, spdy] = await Promise.all([
      import('ws'),
      import('./websocket-client.js'),
      import('./spdy-client.js'),
    ]);
    const known = [...(ticket.kind === 'portforward' ? [tunnelProtocol] : []), ...channels.channelProtocols];
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
    const protocol = known.find((name) => offered.includes(name));
    if (protocol === undefined) {
      refuse(socket, '403 Forbidden');
      return;
    }
    // ws refuses the tunnel's name, which is no token of RFC 2616: it neither sees nor sends the header.
    delete request.headers['sec-websocket-protocol'];
    const server = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      maxPayload: MAX_MESSAGE_BYTES,
    });
    server.once('headers', (lines) => lines.push(`Sec-WebSocket-Protocol: ${protocol}`));
    await new Promise<void>((resolve, reject) => {
      socket.once('close', resolve);
      server.handleUpgrade(request, socket, head, (client) => {
        const session =
          ticket.kind !== 'portforward'
            ? runCommandSession(
                channels.acceptCommandChannels({ socket: client, protocol }, ticket.request),
                ticket.open,
              )
            : protocol === tunnelProtocol
              ? spdy.acceptForwards(createWebSocketStream(client), forwarder(ticket))
              : channels.acceptForwardChannels({ socket: client, protocol }, ticket.ports, forwarder(ticket));
        session.then(resolve, reject);
      });
    });
  }
}

function forwarder({
  connect,
}: Extract<SessionTicket, { kind: 'portforward' }>): (request: ForwardRequest) => void {
  return (request) => void runForward(request, connect);
}

/** In header lines of their own, or one list. */
function protocolsOf({ headers }: IncomingMessage): readonly string[] {
  const value = headers['x-stream-protocol-version'];
  return [value ?? []]
    .flat()
    .flatMap((line) => line.split(','))
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

function refuse(socket: Socket, status: string, lines: readonly string[] = []): void {
  socket.end([`HTTP/1.1 ${status}`, 'Connection: close', 'Content-Length: 0', ...lines, '\r\n'].join('\r\n'));
}
