import { once } from 'node:events';
import type { Socket } from 'node:net';
import { type Duplex, Readable, Writable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { SpdyClient } from './streaming-spdy.js';
import { upgrade } from './streaming-upgrade.js';
import { opcodes, openMessages, openTunnel } from './streaming-websocket.js';

export type Transport = 'spdy' | 'websocket';
export const transports: readonly Transport[] = ['spdy', 'websocket'];

export interface Wanted {
  readonly stdin?: boolean;
  readonly stdout?: boolean;
  readonly stderr?: boolean;
  readonly tty?: boolean;
}

export interface CommandOptions extends Wanted {
  /** Default: the best of the transport. */
  readonly protocol?: string;
  readonly ca?: string;
}

/** A client of exec or attach. */
export interface CommandSession {
  /** Its end is the half-close. */
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  resize(columns: number, rows: number): void;
  /** The session's last word, as it came. */
  readonly lastWord: Promise<string>;
  readonly socket: Socket;
  /** Resolves when the connection is over. */
  readonly closed: Promise<unknown>;
}

export async function openCommand(
  url: string,
  transport: Transport,
  options: CommandOptions,
): Promise<CommandSession> {
  return transport === 'spdy' ? commandOverSpdy(url, options) : commandOverWebSocket(url, options);
}

async function commandOverSpdy(
  url: string,
  { protocol = 'v4.channel.k8s.io', ca, ...wanted }: CommandOptions,
): Promise<CommandSession> {
  const headers = {
    Upgrade: 'SPDY/3.1',
    ...(protocol === '' ? {} : { 'X-Stream-Protocol-Version': protocol }),
  };
  const { socket, head } = await upgrade(url, { headers, ...(ca === undefined ? {} : { ca }) });
  const closed = once(socket, 'close');
  const client = new SpdyClient(socket, head);
  const open = (streamType: string): Duplex => client.open({ streamType });
  const error = open('error');
  error.end();
  const stdin = wanted.stdin ? open('stdin') : nowhere();
  const stdout = wanted.stdout ? open('stdout') : Readable.from([]);
  const stderr = wanted.stderr && !wanted.tty ? open('stderr') : Readable.from([]);
  const resize = wanted.tty && /v[34]/.test(protocol) ? open('resize') : undefined;
  return {
    stdin,
    stdout,
    stderr,
    resize: (Width, Height) => void resize?.write(JSON.stringify({ Width, Height })),
    lastWord: quietly(text(error)),
    socket,
    closed,
  };
}

async function commandOverWebSocket(
  url: string,
  { protocol = 'v5.channel.k8s.io', ca, ...wanted }: CommandOptions,
): Promise<CommandSession> {
  const open: { socket?: Socket } = {};
  const output = (): Readable => new Readable({ read: () => void open.socket?.resume() });
  const [stdout, stderr, error] = [output(), output(), output()];
  for (const stream of [stdout, stderr, error]) stream.on('error', () => undefined);
  const readers: Readonly<Record<number, Readable>> = { 1: stdout, 2: stderr, 3: error };
  const inText = protocol.includes('base64');
  const messages = await openMessages(url, protocol === '' ? [] : [protocol], {
    ca,
    onMessage: (message, from) => {
      const [channel, content] = inText ? fromText(message) : [message[0], message.subarray(1)];
      const reader = readers[channel ?? -1];
      if (content.length > 0 && reader?.push(content) === false && reader !== error) from.pause();
    },
  });
  const send = (channel: number, content: Buffer, done?: () => void): void => {
    if (!inText) return messages.send(Buffer.concat([Buffer.from([channel]), content]), done);
    messages.sendFrame(opcodes.text, Buffer.from(`${channel}${content.toString('base64')}`));
    done?.();
  };
  const { socket } = messages;
  open.socket = socket;
  const closed = once(socket, 'close').then(() => {
    for (const stream of [stdout, stderr, error]) stream.push(null);
  });
  const stdin = new Writable({
    write: (chunk: Buffer, _encoding, done) => send(0, chunk, () => done()),
    // Only the latest protocol can say so.
    final: (done) => (protocol.startsWith('v5.') ? send(255, Buffer.from([0]), () => done()) : done()),
  });
  return {
    stdin: wanted.stdin ? stdin : nowhere(),
    stdout,
    stderr,
    resize: (Width, Height) => send(4, Buffer.from(JSON.stringify({ Width, Height }))),
    lastWord: quietly(text(error)),
    socket,
    closed,
  };
}

/** A channel's digit, then base64. */
function fromText(message: Buffer): readonly [channel: number, content: Buffer] {
  const text = message.toString('latin1');
  return [Number(text.slice(0, 1)), Buffer.from(text.slice(1), 'base64')];
}

/** Everything about a command whose client gives all its input and reads all that comes. */
export interface CommandOutcome {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly lastWord: string;
}

export async function runToEnd(session: CommandSession, input?: Buffer | string): Promise<CommandOutcome> {
  session.stdin.end(input ?? '');
  const [stdout, stderr, lastWord] = await Promise.all([
    buffer(session.stdout),
    buffer(session.stderr),
    session.lastWord,
  ]);
  session.socket.destroy();
  return { stdout, stderr, lastWord };
}

// ---- port-forward ----

export interface Forwarded {
  readonly data: Duplex;
  /** What the error stream brought until its end. */
  readonly error: Promise<string>;
}

export interface ForwardClient {
  connect(port: number): Forwarded;
  readonly socket: Socket;
  readonly spdy: SpdyClient;
}

export async function openForwards(url: string, transport: Transport, ca?: string): Promise<ForwardClient> {
  const { client, socket } =
    transport === 'spdy' ? await forwardsOverSpdy(url, ca) : await forwardsOverTunnel(url, ca);
  let request = 0;
  return {
    socket,
    spdy: client,
    connect: (port) => {
      const headers = { port: String(port), requestID: String(request++) };
      const error = client.open({ ...headers, streamType: 'error' });
      error.end();
      return { data: client.open({ ...headers, streamType: 'data' }), error: quietly(text(error)) };
    },
  };
}

async function forwardsOverSpdy(url: string, ca?: string): Promise<{ client: SpdyClient; socket: Socket }> {
  const headers = { Upgrade: 'SPDY/3.1', 'X-Stream-Protocol-Version': 'portforward.k8s.io' };
  const { socket, head } = await upgrade(url, { headers, ...(ca === undefined ? {} : { ca }) });
  return { client: new SpdyClient(socket, head), socket };
}

async function forwardsOverTunnel(url: string, ca?: string): Promise<{ client: SpdyClient; socket: Socket }> {
  const { tunnel, socket } = await openTunnel(url, ca);
  return { client: new SpdyClient(tunnel), socket };
}

function nowhere(): Writable {
  return new Writable({ write: (_chunk, _encoding, done) => done() });
}

/** Who does not ask for it does not mind that it fails. */
function quietly<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}
