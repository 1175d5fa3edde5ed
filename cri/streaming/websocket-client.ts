import { once } from 'node:events';
import { Duplex, Readable, Writable } from 'node:stream';
import type { WebSocket } from 'ws';
import type { CommandClient, CommandRequest, ForwardRequest } from './client.js';

/** Channels of remotecommand: every message begins with one. */
const channels = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;
const STREAM_BUFFER_BYTES = 1024 * 1024;
const CLOSE_GRACE_MS = 5_000;
const PROBE_INTERVAL_MS = 2_000;

/** What the API server passes on from clients; whoever names none speaks the last but one. */
export const channelProtocols = [
  'v5.channel.k8s.io',
  'v4.channel.k8s.io',
  'v4.base64.channel.k8s.io',
  'channel.k8s.io',
  'base64.channel.k8s.io',
];

export interface ChannelConnection {
  readonly socket: WebSocket;
  /** The one of {@link channelProtocols} that was chosen; empty where the client names none. */
  readonly protocol: string;
  /** Called whenever bytes of a channel move, in either direction. */
  readonly onActivity: () => void;
}

/** The streams of an exec or attach as numbered channels of one WebSocket; v5 can end the input. */
export function acceptCommandChannels(connection: ChannelConnection, request: CommandRequest): CommandClient {
  const mux = openChannels(connection);
  const client: CommandClient = {
    stdin: request.stdin ? mux.readable(channels.stdin) : undefined,
    stdout: request.stdout ? mux.writable(channels.stdout) : undefined,
    stderr: request.stderr && !request.tty ? mux.writable(channels.stderr) : undefined,
    resize: request.tty ? mux.readable(channels.resize) : undefined,
    error: mux.writable(channels.error),
    takesStatus: /^v[45]\./.test(connection.protocol),
    ended: mux.ended,
    close: mux.close,
  };
  // Clients take the first message, be it empty, for the sign that the session is there.
  const first = request.stdout ? channels.stdout : request.stderr ? channels.stderr : channels.error;
  connection.socket.send(framingOf(connection.protocol).pack(first, Buffer.alloc(0)));
  return client;
}

/** Two channels per port, data and error, each beginning with the port's number. Resolves when the client has gone. */
export async function acceptForwardChannels(
  connection: ChannelConnection,
  ports: readonly number[],
  onForward: (request: ForwardRequest) => void,
): Promise<void> {
  const mux = openChannels(connection);
  ports.forEach((port, index) => {
    const number = Buffer.alloc(2);
    number.writeUInt16LE(port);
    const output = mux.writable(2 * index);
    const error = mux.writable(2 * index + 1);
    output.write(number);
    error.write(number);
    const data = Duplex.from({ readable: mux.readable(2 * index), writable: output });
    onForward({ port, data, error, ended: mux.ended });
  });
  if (!mux.ended.aborted) await once(mux.ended, 'abort');
}

/** How a message carries its channel and content: as bytes, or as text, a digit and base64. */
interface Framing {
  pack(channel: number, content: Buffer): Buffer | string;
  unpack(message: Buffer): { readonly channel: number | undefined; readonly content: Buffer };
}

const bytes: Framing = {
  pack: (channel, content) => Buffer.concat([Buffer.from([channel]), content]),
  unpack: (message) => ({ channel: message[0], content: message.subarray(1) }),
};

const text: Framing = {
  pack: (channel, content) => `${channel}${content.toString('base64')}`,
  unpack: (message) => ({
    channel: Number.parseInt(message.toString('latin1', 0, 1), 10),
    content: Buffer.from(message.toString('latin1', 1), 'base64'),
  }),
};

const framingOf = (protocol: string): Framing => (protocol.endsWith('base64.channel.k8s.io') ? text : bytes);

interface Channels {
  readable(channel: number): Readable;
  writable(channel: number): Writable;
  readonly ended: AbortSignal;
  close(): void;
}

function openChannels({ socket, protocol, onActivity }: ChannelConnection): Channels {
  const abort = new AbortController();
  const inputs = new Map<number, Readable>();
  const outputs: Writable[] = [];
  const pause = pausable(socket);
  const framing = framingOf(protocol);
  socket.on('error', () => undefined);
  socket.on('message', (data: Buffer) => {
    const { channel, content } = framing.unpack(data);
    const isEnd = channel === channels.close && protocol === 'v5.channel.k8s.io';
    const closed = isEnd ? content[0] : undefined;
    const input = inputs.get((isEnd ? closed : channel) ?? -1);
    if (input === undefined || input.destroyed || input.readableEnded) return;
    onActivity();
    if (isEnd) {
      inputs.delete(closed ?? -1);
      input.push(null);
    } else if (content.length > 0) {
      input.push(content);
      if (input.readableLength > STREAM_BUFFER_BYTES) pause.begin();
    }
  });
  socket.once('close', () => {
    pause.end();
    abort.abort();
    for (const stream of [...inputs.values(), ...outputs]) stream.destroy();
  });
  return {
    ended: abort.signal,
    readable: (channel) => {
      const input = new Readable({
        highWaterMark: STREAM_BUFFER_BYTES,
        read: () => {
          pause.end();
        },
      });
      input.on('error', () => undefined);
      inputs.set(channel, input);
      return input;
    },
    writable: (channel) => {
      const output = newWritable({ socket, pack: (content) => framing.pack(channel, content), onActivity });
      outputs.push(output);
      return output;
    },
    close: () => {
      closeSocket(socket, outputs);
    },
  };
}

/** Stops reading. That the client has left shows then only when something cannot be sent to it. */
function pausable(socket: WebSocket): { begin(): void; end(): void } {
  let probe: NodeJS.Timeout | undefined;
  return {
    begin: () => {
      socket.pause();
      probe ??= setInterval(() => {
        if (socket.bufferedAmount === 0) socket.ping();
      }, PROBE_INTERVAL_MS);
    },
    end: () => {
      clearInterval(probe);
      probe = undefined;
      if (socket.isPaused) socket.resume();
    },
  };
}

function newWritable({
  socket,
  pack,
  onActivity,
}: Pick<ChannelConnection, 'socket' | 'onActivity'> & {
  readonly pack: (content: Buffer) => Buffer | string;
}): Writable {
  const output = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      onActivity();
      socket.send(pack(chunk), (error) => {
        done(error);
      });
    },
  });
  output.on('error', () => undefined);
  return output;
}

/** Sends what was written, then says good-bye; a client that does not answer is dropped. */
function closeSocket(socket: WebSocket, outputs: readonly Writable[]): void {
  const waiting = outputs.filter((output) => output.writableNeedDrain || output.writableLength > 0);
  void Promise.all(waiting.map((output) => once(output, 'close').catch(() => undefined))).then(() => {
    if (socket.isPaused) socket.resume();
    socket.close(1000);
    const timer = setTimeout(() => {
      socket.terminate();
    }, CLOSE_GRACE_MS);
    socket.once('close', () => {
      clearTimeout(timer);
    });
  });
}
