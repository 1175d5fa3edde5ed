import net from 'node:net';
import {
  pidfdSendSignal,
  seqpacketOpen,
  seqpacketPair,
  spawn,
  waitPidfd,
  type Fd,
  type Packet,
} from '../../native/index.js';
import { constants } from 'node:os';
import { RuntimeError, SystemError } from '../errors.js';
import { closeFds, openFile, withFds } from './descriptors.js';

export interface Relays {
  /**
   * Carries bytes between a terminal's master and two pipes, in a process of its own: libuv writes to terminals without
   * returning until they are taken. All descriptors stay the caller's. It ends with the terminal or the output's reader.
   */
  terminal(ends: { readonly master: Fd; readonly input: Fd; readonly output: Fd }): void;
  /**
   * A connection to a port on the loopback of a network namespace, IPv4 first, then IPv6.
   * @throws SystemError as connect(2)
   */
  connect(netnsPath: string, port: number, signal: AbortSignal): Promise<net.Socket>;
}

export function openRelays(helperFd: Fd): Relays {
  return {
    terminal: ({ master, input, output }) => {
      const { pidfd } = spawn({
        file: helperFd,
        argv: ['podwright-init', 'terminal'],
        fds: [input, output, null, master],
      });
      void waitPidfd(pidfd);
    },
    connect: (netnsPath, port, signal) => connect(helperFd, netnsPath, port, signal),
  };
}

async function connect(
  helperFd: Fd,
  netnsPath: string,
  port: number,
  signal: AbortSignal,
): Promise<net.Socket> {
  return withFds(async (keep) => {
    signal.throwIfAborted();
    const netns = keep(openFile(netnsPath));
    const [ours, theirs] = seqpacketPair();
    const answer = receive(ours, signal);
    try {
      const { pidfd } = spawn({
        file: helperFd,
        argv: ['podwright-init', 'connect', String(port)],
        fds: [theirs, null, null, netns],
      });
      attend(pidfd, signal);
    } finally {
      closeFds([theirs]);
    }
    return socketOf(await answer);
  });
}

/** Reaps a helper; it is killed when nobody waits for its answer any more. */
function attend(pidfd: Fd, signal: AbortSignal): void {
  const kill = (): void => {
    try {
      pidfdSendSignal(pidfd, constants.signals.SIGKILL);
    } catch {
      // It has ended.
    }
  };
  signal.addEventListener('abort', kill, { once: true });
  const forget = (): void => {
    signal.removeEventListener('abort', kill);
  };
  waitPidfd(pidfd).then(forget, forget);
}

/** The one packet that comes; the caller's abort and the helper's end come as an error. */
function receive(fd: Fd, signal: AbortSignal): Promise<Packet> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      socket.close();
      reject(new RuntimeError('Cancelled', 'the session has ended'));
    };
    const socket = seqpacketOpen(fd, {
      onPacket: (packet) => {
        signal.removeEventListener('abort', abort);
        socket.close();
        resolve(packet);
      },
      onClose: () => {
        signal.removeEventListener('abort', abort);
        reject(new RuntimeError('Internal', 'the connecting process has ended without an answer'));
      },
    });
    signal.addEventListener('abort', abort, { once: true });
  });
}

function socketOf({ data, fds }: Packet): net.Socket {
  const [fd] = fds;
  if (fd !== undefined) return new net.Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
  const errno = Number(data.toString());
  const code = Object.entries(constants.errno).find(([, value]) => value === errno)?.[0] ?? `errno ${errno}`;
  throw new SystemError({ syscall: 'connect', errno, code, path: 'loopback of the pod' });
}
