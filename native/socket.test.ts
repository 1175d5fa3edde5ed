import { expect } from 'chai';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync, readSync } from 'node:fs';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import {
  closeFd,
  pipe,
  seqpacketConnect,
  seqpacketListen,
  seqpacketOpen,
  seqpacketPair,
  sendMessage,
  spawn,
  waitPidfd,
} from './index.js';
import type { Fd, Packet, SeqpacketSocket, SystemError } from './index.js';
import { makeScratch, openDescriptors, removeScratch } from './scratch.js';

/** Collects what a socket gets, and lets a test wait for the next packet or the end. */
class Inbox {
  readonly packets: Packet[] = [];
  readonly ends: (SystemError | undefined)[] = [];
  #wake: () => void = () => undefined;

  readonly handlers = {
    onPacket: (packet: Packet): void => {
      this.packets.push(packet);
      this.#wake();
    },
    onClose: (error?: SystemError): void => {
      this.ends.push(error);
      this.#wake();
    },
  };

  async packet(count = 1): Promise<readonly Packet[]> {
    while (this.packets.length < count && this.ends.length === 0) await this.#change();
    return this.packets.splice(0, count);
  }

  async end(): Promise<SystemError | undefined> {
    while (this.ends.length === 0) await this.#change();
    return this.ends[0];
  }

  #change(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }
}

function connected(): { a: SeqpacketSocket; b: SeqpacketSocket; inboxA: Inbox; inboxB: Inbox } {
  const [first, second] = seqpacketPair();
  const inboxA = new Inbox();
  const inboxB = new Inbox();
  return {
    a: seqpacketOpen(first, inboxA.handlers),
    b: seqpacketOpen(second, inboxB.handlers),
    inboxA,
    inboxB,
  };
}

function textOf(packets: readonly Packet[]): string[] {
  return packets.map(({ data }) => data.toString('latin1'));
}

function python(code: string, fds: readonly (Fd | null)[]): Promise<unknown> {
  return waitPidfd(
    spawn({ file: '/usr/bin/python3', argv: ['python3', '-c', code], fds: [null, 2, 2, ...fds] }).pidfd,
  );
}

describe('seqpacket', () => {
  it('keeps packet boundaries and order both ways', async () => {
    const { a, b, inboxA, inboxB } = connected();
    for (const text of ['one', 'two', 'three']) a.send(Buffer.from(text));
    b.send(Buffer.alloc(65536, 'x'));
    expect(textOf(await inboxB.packet(3))).to.deep.equal(['one', 'two', 'three']);
    expect((await inboxA.packet())[0]?.data.length).to.equal(65536);
    a.close();
    expect(await inboxB.end()).to.equal(undefined);
    expect(inboxA.ends).to.deep.equal([]);
    b.close();
    b.close();
  });

  it('passes descriptors, close-on-exec', async () => {
    const { a, b, inboxB } = connected();
    const before = openDescriptors();
    const file = openSync('/proc/self/comm', 'r');
    const [readEnd, writeEnd] = pipe();
    a.send(Buffer.from('files'), [file, readEnd, writeEnd]);
    [file, readEnd, writeEnd].forEach((fd) => closeFd(fd));
    const [packet] = await inboxB.packet();
    const [comm = -1, reader = -1, writer = -1] = packet?.fds ?? [];
    const bytes = Buffer.alloc(100);
    expect(readSync(comm, bytes)).to.be.greaterThan(0);
    expect(readFileSync(`/proc/self/fdinfo/${reader}`, 'utf8')).to.match(/^flags:\t0*2\d{6}$/m);
    [comm, reader, writer].forEach((fd) => closeFd(fd));
    expect(openDescriptors()).to.equal(before);
    a.close();
    b.close();
  });

  it('queues what the peer does not read yet, with copies of the descriptors', async () => {
    const [first, second] = seqpacketPair();
    const inbox = new Inbox();
    const a = seqpacketOpen(first, new Inbox().handlers);
    const before = openDescriptors();
    for (let i = 0; i < 600; i++) {
      const file = openSync('/proc/self/comm', 'r');
      a.send(Buffer.concat([Buffer.from(`${i} `), Buffer.alloc(4000)]), i % 100 === 0 ? [file] : []);
      closeSync(file);
    }
    const b = seqpacketOpen(second, inbox.handlers);
    const packets = await inbox.packet(600);
    expect(packets.map(({ data }) => parseInt(data.toString('latin1')))).to.deep.equal(
      Array.from({ length: 600 }, (_, i) => i),
    );
    const fds = packets.flatMap((packet) => packet.fds);
    expect(fds.length).to.equal(6);
    fds.forEach((fd) => closeFd(fd));
    expect(openDescriptors()).to.equal(before);
    a.close();
    b.close();
  });

  it('does not queue without end, and refuses what cannot be a packet', () => {
    const [first, second] = seqpacketPair();
    const a = seqpacketOpen(first, new Inbox().handlers);
    const flood = (): void => {
      for (let i = 0; i < 5000; i++) a.send(Buffer.alloc(60000));
    };
    expect(flood).to.throw(/sendmsg: ENOBUFS/);
    expect(() => a.send(Buffer.alloc(0))).to.throw(/sendmsg: EINVAL/);
    expect(() => a.send(Buffer.alloc(65537))).to.throw(/sendmsg: EMSGSIZE/);
    expect(() =>
      a.send(
        Buffer.from('x'),
        Array.from({ length: 17 }, () => 0),
      ),
    ).to.throw(/sendmsg: EMSGSIZE/);
    a.close();
    expect(() => a.send(Buffer.from('x'))).to.throw(/sendmsg: ENOTCONN/);
    closeFd(second);
  });

  it('delivers what a peer sent before it vanished with our packets unread, then ends once', async () => {
    const [first, second] = seqpacketPair();
    sendMessage(second, Buffer.from('last words'), []);
    sendMessage(first, Buffer.from('never read'), []);
    closeFd(second);
    const inbox = new Inbox();
    const a = seqpacketOpen(first, inbox.handlers);
    expect(await inbox.end()).to.include({ code: 'ECONNRESET' });
    expect(textOf(inbox.packets)).to.deep.equal(['last words']);
    a.close();
    await new Promise((resolve) => setImmediate(resolve));
    expect(inbox.ends.length).to.equal(1);
  });

  it('ends on a packet that is too long, or brings too many descriptors, and keeps none', async () => {
    const [first, second] = seqpacketPair();
    const inbox = new Inbox();
    seqpacketOpen(first, inbox.handlers);
    sendMessage(second, Buffer.alloc(70000), []);
    expect(await inbox.end()).to.include({ syscall: 'recvmsg', code: 'EMSGSIZE' });
    closeFd(second);

    const [third, fourth] = seqpacketPair();
    const crowd = new Inbox();
    const before = openDescriptors();
    seqpacketOpen(third, crowd.handlers);
    await python('import socket; socket.send_fds(socket.socket(fileno=3), [b"x"], [0] * 100)', [fourth]);
    expect(await crowd.end()).to.include({ code: 'EMSGSIZE' });
    expect(openDescriptors()).to.equal(before - 1);
    closeFd(fourth);
  });

  it('may be closed inside its own callback', async () => {
    const [first, second] = seqpacketPair();
    let seen = 0;
    const socket = seqpacketOpen(first, {
      onPacket: () => {
        seen++;
        socket.close();
      },
      onClose: () => {
        seen += 100;
      },
    });
    const peer = new Inbox();
    const other = seqpacketOpen(second, peer.handlers);
    other.send(Buffer.from('1'));
    other.send(Buffer.from('2'));
    await peer.end();
    expect(seen).to.equal(1);
    other.close();
  });

  it('survives a callback that throws: the exception is an uncaught one', async () => {
    const worker = new Worker(
      `const { parentPort } = require('node:worker_threads');
      const heard = [];
      process.on('uncaughtException', (error) => heard.push('caught ' + error.message));
      import(${JSON.stringify(new URL('./index.js', import.meta.url).href)}).then((native) => {
        const [a, b] = native.seqpacketPair();
        native.seqpacketOpen(a, {
          onPacket: ({ data }) => { throw new Error(data.toString()); },
          onClose: () => parentPort.postMessage(heard),
        });
        const other = native.seqpacketOpen(b, { onPacket() {}, onClose() {} });
        other.send(Buffer.from('1'));
        other.send(Buffer.from('2'));
        other.close();
      })`,
      { eval: true },
    );
    const exit = once(worker, 'exit');
    expect(await once(worker, 'message')).to.deep.equal([['caught 1', 'caught 2']]);
    expect(await exit).to.deep.equal([0]);
  });

  it('does not keep the process alive when unreferenced', async () => {
    const worker = new Worker(
      `import(${JSON.stringify(new URL('./index.js', import.meta.url).href)}).then((native) => {
        const [a] = native.seqpacketPair();
        native.seqpacketOpen(a, { onPacket() {}, onClose() {} }).unref();
      })`,
      { eval: true },
    );
    expect(await once(worker, 'exit')).to.deep.equal([0]);
  });

  it('takes SEQPACKET sockets only', () => {
    const [readEnd, writeEnd] = pipe();
    expect(() => seqpacketOpen(readEnd, new Inbox().handlers)).to.throw(/getsockopt: ENOTSOCK/);
    closeFd(writeEnd);
  });
});

describe('seqpacketConnect', () => {
  let scratch: string;
  before(async () => {
    scratch = await makeScratch();
  });
  after(() => removeScratch(scratch));

  it('reaches a socket below a path longer than sun_path, and knows its peer', async () => {
    const deep = path.join(scratch, 'd'.repeat(100), 'e'.repeat(100));
    mkdirSync(deep, { recursive: true });
    const directory = openSync(deep, 'r');
    const listener = seqpacketListen(directory, 'control');
    const answered = python(
      'import socket\n' +
        'c = socket.socket(fileno=3).accept()[0]\n' +
        'data, fds, flags, address = socket.recv_fds(c, 100, 4)\n' +
        'c.send(b"%s %d" % (data, len(fds)))',
      [listener],
    );
    closeFd(listener);
    const inbox = new Inbox();
    const socket = seqpacketConnect(directory, 'control', inbox.handlers);
    expect(socket.peer).to.deep.equal({ pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() });
    socket.send(Buffer.from('hello'), [0, 0]);
    expect(textOf(await inbox.packet())).to.deep.equal(['hello 2']);
    expect(await inbox.end()).to.equal(undefined);
    await answered;
    expect(() => seqpacketConnect(directory, 'control', inbox.handlers)).to.throw(
      /connect control: ECONNREFUSED/,
    );
    expect(() => seqpacketConnect(directory, '../x', inbox.handlers)).to.throw(/EINVAL/);
    closeSync(directory);
  });
});
