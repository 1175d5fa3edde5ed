import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import path from 'node:path';
import {
  closeFd,
  pidfdOpen,
  pidfdSendSignal,
  seqpacketOpen,
  seqpacketPair,
  spawn,
  waitPidfd,
  type Fd,
  type SeqpacketSocket,
} from '../../native/index.js';
import { criuReq, criuReqType, criuResp, type criuOpts } from '../../protos/gen/criu/rpc.js';
import { RuntimeError, errnoOf, isErrno } from '../errors.js';

/** One CRIU process that serves one request over its SEQPACKET socket (`criu swrk`). */
export interface Criu {
  /**
   * Sends the request and answers CRIU's notifications until the result is there. If a handler fails CRIU is told to
   * stop, which undoes what it did to the processes, and the handler's error is thrown after that.
   * @throws FailedPrecondition naming CRIU's own error
   */
  request(type: criuReqType, opts: criuOpts | undefined, onNotify?: NotifyHandler): Promise<criuResp>;
  /** Ends the process, whatever it is doing. */
  close(): Promise<void>;
}

/** Called for each step of a dump or restore that CRIU reports ("network-lock", "post-restore" …) with the pid it names. */
export type NotifyHandler = (script: string, pid: number) => void | Promise<void>;

const SIGKILL = 9;
/** Descriptor of the socket in CRIU. */
const SOCKET_FD = 3;

/** Starts CRIU. `fds` are its descriptors 4, 5, …; its own end of the socket is closed here at once, so that a crash of CRIU is an error and never a hang. */
export function startCriu(program: string, fds: readonly Fd[] = []): Criu {
  const [ours, theirs] = seqpacketPair();
  try {
    const { pid, pidfd } = spawn({
      file: program,
      argv: ['criu', 'swrk', String(SOCKET_FD)],
      env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      fds: [null, null, null, theirs, ...fds],
    });
    const ended = waitPidfd(pidfd);
    return connectCriu(ours, async () => {
      kill(pid);
      await ended;
    });
  } catch (error) {
    closeFd(ours);
    throw error;
  } finally {
    closeFd(theirs);
  }
}

/** Talks to a CRIU that somebody else started on the other end of the socket. */
export function connectCriu(fd: Fd, end: () => Promise<void>): Criu {
  const queue = new PacketQueue();
  const socket = seqpacketOpen(fd, {
    onPacket: ({ data, fds }) => {
      for (const unexpected of fds) closeFd(unexpected);
      queue.push(data);
    },
    onClose: () => queue.end(),
  });
  return {
    request: async (type, opts, onNotify) => converse(socket, queue, { type, opts }, onNotify),
    close: async () => {
      socket.close();
      // A socket that we close ourselves tells us nothing more.
      queue.end();
      await end();
    },
  };
}

async function converse(
  socket: SeqpacketSocket,
  queue: PacketQueue,
  request: { readonly type: criuReqType; readonly opts: criuOpts | undefined },
  onNotify: NotifyHandler = () => undefined,
): Promise<criuResp> {
  let refusal: Error | undefined;
  sendTo(socket, request);
  for (;;) {
    const packet = await queue.next();
    if (packet === undefined) throw refusal ?? new RuntimeError('Internal', 'CRIU ended without an answer');
    if (packet.length === 0) throw new RuntimeError('Internal', 'CRIU gave an empty answer');
    const answer = criuResp.decode(packet);
    if (answer.type !== criuReqType.NOTIFY) {
      if (refusal !== undefined) throw refusal;
      return checked(answer, request.type);
    }
    try {
      await onNotify(answer.notify?.script ?? '', answer.notify?.pid ?? 0);
    } catch (reason) {
      refusal ??= reason instanceof Error ? reason : new Error(String(reason));
    }
    sendTo(socket, { type: criuReqType.NOTIFY, notifySuccess: refusal === undefined });
  }
}

/** One that has ended is noticed by what it does not answer. */
function sendTo(socket: SeqpacketSocket, request: criuReq): void {
  try {
    socket.send(criuReq.encode(request).finish());
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
  }
}

function checked(answer: criuResp, asked: criuReqType): criuResp {
  if (answer.type !== asked)
    throw new RuntimeError('Internal', `CRIU answered another request (${answer.type ?? 'none'})`);
  if (answer.success === true) return answer;
  const words = answer.crErrmsg ?? '';
  throw new RuntimeError('FailedPrecondition', 'CRIU', {
    cause: words === '' ? `errno ${answer.crErrno ?? 0}` : words.trim(),
  });
}

class PacketQueue {
  private readonly packets: Buffer[] = [];
  private ended = false;
  private wake: () => void = () => undefined;

  push(packet: Buffer): void {
    this.packets.push(packet);
    this.wake();
  }

  end(): void {
    this.ended = true;
    this.wake();
  }

  /** undefined: there will be none any more. */
  async next(): Promise<Buffer | undefined> {
    for (;;) {
      const packet = this.packets.shift();
      if (packet !== undefined || this.ended) return packet;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }
}

function kill(pid: number): void {
  try {
    const pidfd = pidfdOpen(pid);
    pidfdSendSignal(pidfd, SIGKILL);
    closeFd(pidfd);
  } catch (error) {
    // ESRCH: it has ended and was reaped.
    if (!isErrno(error, 'ESRCH')) throw error;
  }
}

/** Major × 10000 + minor × 100 + sublevel, as CRIU itself counts. */
export interface CriuVersion {
  readonly number: number;
  readonly text: string;
}

/** Below this nothing that we ask for works. */
const MINIMUM = { number: 30_000, text: '3.0' };

/** CRIU on this node: where it is and which version, looked up once. */
export class CriuProgram {
  private found: Promise<{ readonly program: string; readonly version: CriuVersion }> | undefined;

  constructor(private readonly name: string) {}

  /** @throws FailedPrecondition naming the version that is needed */
  async get(): Promise<{ readonly program: string; readonly version: CriuVersion }> {
    this.found ??= this.find().catch((error: unknown) => {
      this.found = undefined;
      throw error;
    });
    return this.found;
  }

  private async find() {
    const program = await findProgram(this.name);
    if (program === undefined) {
      throw new RuntimeError('FailedPrecondition', `CRIU ${MINIMUM.text} or newer is needed`, {
        cause: `no program "${this.name}"`,
        reason: 'CriuMissing',
      });
    }
    const version = await askVersion(program);
    if (version.number < MINIMUM.number) {
      throw new RuntimeError('FailedPrecondition', `CRIU ${MINIMUM.text} or newer is needed`, {
        cause: `this is ${version.text}`,
        reason: 'CriuTooOld',
      });
    }
    return { program, version };
  }
}

async function askVersion(program: string): Promise<CriuVersion> {
  const criu = startCriu(program);
  try {
    const { version } = await criu.request(criuReqType.VERSION, undefined);
    const [major, minor, sublevel] = [
      version?.majorNumber ?? 0,
      version?.minorNumber ?? 0,
      version?.sublevel ?? 0,
    ];
    return { number: major * 10_000 + minor * 100 + sublevel, text: `${major}.${minor}.${sublevel}` };
  } finally {
    await criu.close();
  }
}

async function findProgram(name: string): Promise<string | undefined> {
  const candidates = name.includes('/')
    ? [name]
    : (process.env['PATH'] ?? '').split(':').map((directory) => path.join(directory, name));
  for (const candidate of candidates) {
    const usable = await access(candidate, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (usable) return candidate;
  }
  return undefined;
}

/** Every list must be there for the encoder; the rest is left out unless set. */
export const noOptions: criuOpts = {
  veths: [],
  execCmd: [],
  extMnt: [],
  cgRoot: [],
  inheritFd: [],
  skipMnt: [],
  enableFs: [],
  unixSkIno: [],
  irmapScanPaths: [],
  external: [],
  joinNs: [],
  cgroupDumpController: [],
};
