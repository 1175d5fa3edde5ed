import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { upgrade } from './streaming-upgrade.js';

/**
 * A client's side of RFC 6455 in messages. The library on npm does not speak the tunnel's protocol, whose name is
 * no token.
 */

export const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export interface MessageSocket {
  readonly socket: Socket;
  readonly protocol: string;
  /** The code of the server's close frame. */
  readonly closeCode: () => number | undefined;
  send(message: Buffer, done?: () => void): void;
  /** A frame of any kind, whole or not. */
  sendFrame(opcode: number, payload: Buffer, announcedLength?: number): void;
}

export async function openMessages(
  url: string,
  protocols: readonly string[],
  {
    ca,
    onMessage,
  }: { readonly ca?: string | undefined; readonly onMessage: (message: Buffer, socket: Socket) => void },
): Promise<MessageSocket> {
  const headers = {
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
    ...(protocols.length === 0 ? {} : { 'Sec-WebSocket-Protocol': protocols.join(', ') }),
  };
  const upgraded = await upgrade(url, { headers, ...(ca === undefined ? {} : { ca }) });
  const { socket, head } = upgraded;
  let closeCode: number | undefined;
  const sendFrame: MessageSocket['sendFrame'] = (opcode, payload, announcedLength = payload.length) => {
    socket.write(Buffer.concat([frameHeader(opcode, announcedLength), payload]));
  };
  const take = frameReader((opcode, payload) => {
    if (opcode === opcodes.binary || opcode === opcodes.text) onMessage(payload, socket);
    else if (opcode === opcodes.ping) sendFrame(opcodes.pong, payload);
    else if (opcode === opcodes.close) {
      closeCode = payload.length >= 2 ? payload.readUInt16BE(0) : undefined;
      sendFrame(opcodes.close, payload);
      socket.end();
    }
  });
  socket.on('data', take);
  if (head.length > 0) take(head);
  return {
    socket,
    protocol: String(upgraded.headers['sec-websocket-protocol']),
    closeCode: () => closeCode,
    send: (message, done) => {
      socket.write(Buffer.concat([frameHeader(opcodes.binary, message.length), message]), () => done?.());
    },
    sendFrame,
  };
}

/** The tunnel's messages as one stream of bytes. */
export async function openTunnel(
  url: string,
  ca?: string,
): Promise<{ readonly tunnel: Duplex; readonly socket: Socket }> {
  const open: { messages?: MessageSocket } = {};
  const tunnel = new Duplex({
    read: () => void open.messages?.socket.resume(),
    write: (chunk: Buffer, _encoding, done) => open.messages?.send(chunk, () => done()),
    destroy: (error, done) => {
      open.messages?.socket.destroy();
      done(error);
    },
  });
  const onMessage = (message: Buffer, socket: Socket): void => {
    if (!tunnel.push(message)) socket.pause();
  };
  open.messages = await openMessages(url, ['SPDY/3.1+portforward.k8s.io'], { ca, onMessage });
  const { socket } = open.messages;
  socket.once('close', () => tunnel.destroy());
  return { tunnel, socket };
}

/** Masked with zeros, which leaves the payload as it is. */
function frameHeader(opcode: number, length: number): Buffer {
  const header = Buffer.alloc(length < 126 ? 6 : length < 65_536 ? 8 : 14);
  header.writeUInt8(0x80 | opcode, 0);
  if (length < 126) {
    header.writeUInt8(0x80 | length, 1);
  } else if (length < 65_536) {
    header.writeUInt8(0x80 | 126, 1);
    header.writeUInt16BE(length, 2);
  } else {
    header.writeUInt8(0x80 | 127, 1);
    header.writeBigUInt64BE(BigInt(length), 2);
  }
  return header;
}

/** The server's frames are whole messages, never masked. */
function frameReader(onFrame: (opcode: number, payload: Buffer) => void): (chunk: Buffer) => void {
  let pending: Buffer = Buffer.alloc(0);
  return (chunk) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    while (pending.length >= 2) {
      const short = pending.readUInt8(1) & 0x7f;
      const size = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (pending.length < size) return;
      const length =
        short < 126 ? short : short === 126 ? pending.readUInt16BE(2) : Number(pending.readBigUInt64BE(2));
      if (pending.length < size + length) return;
      const opcode = pending.readUInt8(0) & 0x0f;
      const payload = pending.subarray(size, size + length);
      pending = pending.subarray(size + length);
      onFrame(opcode, payload);
    }
  };
}
