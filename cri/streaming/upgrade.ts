import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Session } from '../../runtime/container/types.js';
import type { CommandRequest, ForwardRequest } from './client.js';
import { runCommandSession } from './command-session.js';
import { runForward } from './forward-session.js';

/** A session a client may come for. */
export type SessionTicket = {
  /** Whom it is with, for the log. */
  readonly about?: { readonly containerId: string } | { readonly podSandboxId: string };
} & (
  | {
      readonly kind: 'exec' | 'attach';
      readonly request: CommandRequest;
      readonly open: () => Promise<Session>;
    }
  | {
      readonly kind: 'portforward';
      readonly ports: readonly number[];
      readonly connect: (port: number, signal: AbortSignal) => Promise<Duplex>;
    }
);

/** A request that wants to leave HTTP, and what has come behind it. */
export interface Upgrade {
  readonly request: IncomingMessage;
  readonly socket: Socket;
  readonly head: Buffer;
  /** To be called whenever bytes of a stream move, in either direction. */
  readonly onActivity: () => void;
}

const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
const REFUSED_GRACE_MS = 5_000;
const forwardProtocol = 'portforward.k8s.io';
const tunnelProtocol = 'SPDY/3.1+portforward.k8s.io';

/** Speaks what the client asks for until the session is over. @throws if it does not get that far */
export async function serveUpgrade(upgrade: Upgrade, ticket: SessionTicket): Promise<void> {
  const wanted = upgrade.request.headers.upgrade ?? '';
  switch (wanted.toLowerCase()) {
    case 'websocket':
      return overWebSocket(upgrade, ticket);
    case 'spdy/3.1':
      return overSpdy(upgrade, ticket);
    default:
      refuse(upgrade.socket, '400 Bad Request', `no upgrade to ${wanted}, only to SPDY/3.1 and websocket`);
  }
}

/** Answers with a sentence, which clients show. */
export function refuse(
  socket: Socket,
  status: string,
  reason: string,
  headers: readonly string[] = [],
): void {
  const lines = [
    `HTTP/1.1 ${status}`,
    'Connection: close',
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(reason) + 1}`,
    ...headers,
  ];
  socket.end(`${lines.join('\r\n')}\r\n\r\n${reason}\n`);
  // What the client still sends is dropped, and so is a client that does not end the connection.
  socket.resume();
  socket.setTimeout(REFUSED_GRACE_MS, () => socket.destroy());
}

// ---- SPDY ----

async function overSpdy(
  { request, socket, head, onActivity }: Upgrade,
  ticket: SessionTicket,
): Promise<void> {
  const spdy = await import('./spdy-client.js');
  const offered = protocolsOf(request, 'x-stream-protocol-version');
  const known = ticket.kind === 'portforward' ? [forwardProtocol] : spdy.commandProtocols;
  const first = ticket.kind === 'portforward' ? forwardProtocol : spdy.firstCommandProtocol;
  const protocol = offered.length === 0 ? first : [...known, first].find((name) => offered.includes(name));
  if (protocol === undefined) {
    const accepted = known.map((name) => `X-Accepted-Stream-Protocol-Versions: ${name}`);
    refuse(socket, '403 Forbidden', unknownProtocol(offered, known), accepted);
    return;
  }
  const named = offered.length === 0 ? [] : [`X-Stream-Protocol-Version: ${protocol}`];
  const lines = [
    'HTTP/1.1 101 Switching Protocols',
    'Connection: Upgrade',
    'Upgrade: SPDY/3.1',
    ...named,
    '\r\n',
  ];
  socket.write(lines.join('\r\n'));
  // Frames may have come with the request.
  if (head.length > 0) socket.unshift(head);
  if (ticket.kind === 'portforward') {
    await spdy.acceptForwards({ transport: socket, onActivity }, forwarder(ticket));
    return;
  }
  const client = await spdy.acceptCommand({ transport: socket, onActivity }, protocol, ticket.request);
  await runCommandSession(client, ticket);
}

// ---- WebSocket ----

async function overWebSocket(
  { request, socket, head, onActivity }: Upgrade,
  ticket: SessionTicket,
): Promise<void> {
  const [{ WebSocketServer, createWebSocketStream }, channels, spdy] = await Promise.all([
    import('ws'),
    import('./websocket-client.js'),
    import('./spdy-client.js'),
  ]);
  const known = [...(ticket.kind === 'portforward' ? [tunnelProtocol] : []), ...channels.channelProtocols];
  const offered = protocolsOf(request, 'sec-websocket-protocol');
  const protocol = offered.length === 0 ? '' : known.find((name) => offered.includes(name));
  if (protocol === undefined) {
    refuse(socket, '403 Forbidden', unknownProtocol(offered, known));
    return;
  }
  // ws refuses the tunnel's name, which is no token of RFC 2616: it neither sees nor sends the header.
  delete request.headers['sec-websocket-protocol'];
  const server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: MAX_MESSAGE_BYTES,
  });
  if (protocol !== '') server.once('headers', (lines) => lines.push(`Sec-WebSocket-Protocol: ${protocol}`));
  if (socket.destroyed) return;
  await new Promise<void>((resolve, reject) => {
    socket.once('close', resolve);
    server.handleUpgrade(request, socket, head, (client) => {
      const connection = { socket: client, protocol, onActivity };
      const session =
        ticket.kind !== 'portforward'
          ? runCommandSession(channels.acceptCommandChannels(connection, ticket.request), ticket)
          : protocol === tunnelProtocol
            ? spdy.acceptForwards({ transport: createWebSocketStream(client), onActivity }, forwarder(ticket))
            : channels.acceptForwardChannels(connection, ticket.ports, forwarder(ticket));
      session.then(resolve, reject);
    });
  });
}

function forwarder({
  connect,
}: Extract<SessionTicket, { kind: 'portforward' }>): (request: ForwardRequest) => void {
  return (request) => void runForward(request, connect);
}

/** In header lines of their own, or one list. */
function protocolsOf({ headers }: IncomingMessage, name: string): readonly string[] {
  return [headers[name] ?? []]
    .flat()
    .flatMap((line) => line.split(','))
    .map((protocol) => protocol.trim())
    .filter((protocol) => protocol !== '');
}

function unknownProtocol(offered: readonly string[], known: readonly string[]): string {
  const names = offered.length === 0 ? 'none' : offered.join(', ').slice(0, 200);
  return `no protocol in common: the client offers ${names}, the server speaks ${known.join(', ')}`;
}
