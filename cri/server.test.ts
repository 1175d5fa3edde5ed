import { chmod, link, lstat, mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises';
import http2 from 'node:http2';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { RuntimeServiceService } from '../protos/gen/cri/runtime/v1/api.js';
import { silentLogger } from '../runtime/base/logger.js';
import { RuntimeError } from '../runtime/errors.js';
import { serve } from './server.js';
import { eventually } from './testing/eventually.js';
import { type TestServer, ask, openTestServer, refusal } from './testing/server.js';

describe('the socket', () => {
  let server: TestServer;
  beforeEach(async () => {
    server = await openTestServer(silentLogger, ['limits.request_bytes=65536']);
  });
  afterEach(() => server.close());

  it('may be connected to by root and its group', async () => {
    const { mode } = await stat(server.socket);
    expect((mode & 0o777).toString(8)).to.equal('660');
    expect(await readdir(path.dirname(server.socket))).to.deep.equal(['cri.sock']);
  });

  it('is not taken from a daemon that lives', async () => {
    const error = await serve(server.services, server.socket).then(
      () => expect.fail('served twice'),
      (failure: unknown) => failure,
    );
    expect(error).to.be.instanceOf(RuntimeError).with.property('code', 'AlreadyExists');
    await ask(server.client, RuntimeServiceService.version, { version: '' });
  });

  it('of a daemon that died is replaced', async () => {
    const directory = await mkdtemp(path.join(os.tmpdir(), 'podwright-socket-'));
    const stale = path.join(directory, 'cri.sock');
    await leaveSocketBehind(stale);
    const second = await serve(server.services, stale);
    try {
      expect((await lstat(stale)).isSocket()).to.equal(true);
    } finally {
      await second.close(100);
    }
    expect(await readdir(directory)).to.deep.equal([]);
    await rm(directory, { recursive: true });
  });

  it('is not put in the place of a file', async () => {
    const error = await serve(server.services, '/etc/passwd').then(
      () => expect.fail('served'),
      (failure: unknown) => failure,
    );
    expect(error).to.be.instanceOf(RuntimeError).with.property('message').that.contains('no socket');
    expect(await readFile('/etc/passwd', 'utf8')).to.contain('root');
  });

  it('goes only after the calls in progress', async () => {
    let finish: (() => void) | undefined;
    Object.assign(server.runtime.network, {
      status: () =>
        new Promise((resolve) => {
          finish = () => resolve({ ready: true, reason: '', message: '' });
        }),
    });
    const answer = ask(server.client, RuntimeServiceService.status, { verbose: false });
    await eventually(() => finish !== undefined);
    const closed = server.cri.close(5000);
    const refused = await refusal(ask(server.client, RuntimeServiceService.version, { version: '' }, 200));
    expect(refused.code).to.be.oneOf([status.UNAVAILABLE, status.DEADLINE_EXCEEDED]);
    finish?.();
    expect((await answer).runtimeHandlers).to.have.length(1);
    await closed;
  });

  it('refuses a message above the limit', async () => {
    const error = await refusal(
      ask(server.client, RuntimeServiceService.version, { version: 'x'.repeat(70_000) }),
    );
    expect(error.code).to.equal(status.RESOURCE_EXHAUSTED);
    await ask(server.client, RuntimeServiceService.version, { version: 'x'.repeat(60_000) });
  });

  for (const [name, body] of [
    [
      'a message that announces 4 GiB',
      Buffer.concat([Buffer.from([0, 0xff, 0xff, 0xff, 0xff]), Buffer.alloc(1000)]),
    ],
    ['a string that announces 4 GiB', frame(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x41]))],
    ['a message that is no protobuf', frame(Buffer.from([0xff, 0xff, 0xff]))],
    ['a compressed message that is none', Buffer.concat([Buffer.from([1, 0, 0, 0, 3]), Buffer.from('abc')])],
  ] as const) {
    it(`survives ${name}`, async () => {
      const code = await sendRaw(server.socket, '/runtime.v1.RuntimeService/Version', body);
      expect(code, 'grpc-status').to.match(/^(3|8|12|13)$/);
      await ask(server.client, RuntimeServiceService.version, { version: '' });
    });
  }
});

function frame(message: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** Sends bytes as the body of a gRPC request and returns the status in the trailers. */
function sendRaw(socket: string, method: string, body: Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const session = http2.connect('http://localhost', { createConnection: () => net.connect(socket) });
    session.on('error', reject);
    const request = session.request({
      ':method': 'POST',
      ':path': method,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    let code = '';
    const take = (headers: http2.IncomingHttpHeaders): void => {
      if (headers['grpc-status'] !== undefined) code = String(headers['grpc-status']);
    };
    request.on('response', take);
    request.on('trailers', take);
    request.on('data', () => undefined);
    request.on('error', reject);
    request.on('close', () => {
      session.close();
      resolve(code);
    });
    request.end(body);
  });
}

/** A socket file that nobody listens on. */
async function leaveSocketBehind(file: string): Promise<void> {
  const listener = net.createServer();
  await new Promise<void>((resolve) => listener.listen(`${file}.living`, resolve));
  await link(`${file}.living`, file);
  await new Promise((resolve) => listener.close(resolve));
  await chmod(file, 0o600);
}
