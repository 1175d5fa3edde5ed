import { binding, closer } from './binding.js';
import type { Fd } from './binding.js';
import type { SystemError } from './system-error.js';

export interface Packet {
  readonly data: Buffer;
  /** Descriptors that came with SCM_RIGHTS, close-on-exec. The receiver owns them. */
  readonly fds: readonly Fd[];
}

export interface SeqpacketHandlers {
  readonly onPacket: (packet: Packet) => void;
  /**
   * The peer is gone or the socket failed; called once, after the last packet. Not called after our own close().
   * EMSGSIZE: the peer sent more than 64 KiB or 16 descriptors (or we had no room for them).
   */
  readonly onClose: (error?: SystemError) => void;
}

/** One SOCK_SEQPACKET connection. Packets are at most 64 KiB; a send that would block is queued in order. */
export interface SeqpacketSocket {
  /**
   * The descriptors stay the caller's and may be closed at once. An empty packet is refused (EINVAL): its receiver
   * could not tell it from the end. ENOBUFS: 8 MiB or 1024 packets are waiting for a peer that does not read.
   */
  send(data: Uint8Array, fds?: readonly Fd[]): void;
  /** Drops what is still queued. Safe to repeat, and inside a callback. */
  close(): void;
  /** SO_PEERCRED of the peer. */
  readonly peer: { readonly pid: number; readonly uid: number; readonly gid: number };
  /** Whether it keeps the event loop alive (default true). */
  ref(): void;
  unref(): void;
}

/** socketpair(2), SOCK_SEQPACKET. */
export function seqpacketPair(): readonly [Fd, Fd] {
  return binding.seqpacketPair();
}
/** Takes over a connected SEQPACKET descriptor. */
export function seqpacketOpen(fd: Fd, handlers: SeqpacketHandlers): SeqpacketSocket {
  const { id, pid, uid, gid } = binding.seqpacketOpen(
    fd,
    (data, fds) => {
      handlers.onPacket({ data, fds });
    },
    (error) => {
      handlers.onClose(error);
    },
  );
  return {
    send: (data, fds = []) => {
      binding.seqpacketSend(id, data, fds);
    },
    close: closer(id),
    peer: { pid, uid, gid },
    ref: () => {
      binding.pollerKeepAlive(id, true);
    },
    unref: () => {
      binding.pollerKeepAlive(id, false);
    },
  };
}
/** connect(2) to the socket `name` in the directory `dirFd` (through /proc/self/fd, so no 108-byte limit). */
export function seqpacketConnect(dirFd: Fd, name: string, handlers: SeqpacketHandlers): SeqpacketSocket {
  return seqpacketOpen(binding.seqpacketConnect(dirFd, name), handlers);
}

/**
 * A listening socket of the name `name` in the directory `dirFd`, for a child that accepts on it: a client can
 * connect from now on, before the child runs.
 */
export function seqpacketListen(dirFd: Fd, name: string): Fd {
  return binding.seqpacketListen(dirFd, name);
}

/** connect(2) to a SOCK_STREAM socket, without waiting: EAGAIN if its queue of connections is full. */
export function unixConnect(path: string): Fd {
  return binding.unixConnect(path);
}

/** One sendmsg(2) with descriptors on any connected unix socket, without waiting. */
export function sendMessage(fd: Fd, data: Uint8Array, fds: readonly Fd[]): void {
  binding.sendMessage(fd, data, fds);
}
