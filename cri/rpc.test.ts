import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { Client, Metadata, Server, ServerCredentials, credentials, status } from '@grpc/grpc-js';
import { expect } from 'chai';
import os from 'node:os';
import path from 'node:path';
import {
  ImageServiceService,
  RuntimeServiceService,
  VersionRequest,
  VersionResponse,
} from '../protos/gen/cri/runtime/v1/api.js';
import { silentLogger } from '../runtime/base/logger.js';
import { RuntimeError } from '../runtime/errors.js';
import { imageService } from './image-service/index.js';
import { type Call, type Stream, type Unary, implementService } from './rpc.js';
import { runtimeService } from './runtime-service/index.js';
import type { Services } from './services.js';
import { eventually } from './testing/eventually.js';
import { ask, openTestServer, refusal } from './testing/server.js';

describe('every rpc', () => {
  for (const [name, service, table] of [
    ['runtime-service', RuntimeServiceService, runtimeService],
    ['image-service', ImageServiceService, imageService],
  ] as const) {
    it(`of ${name} has a handler in a file of its own`, async () => {
      const files = await readdir(new URL(`${name}/`, import.meta.url));
      const expected = Object.keys(service).map(
        (rpc) => `${rpc.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}.js`,
      );
      expect(files.filter((file) => file !== 'index.js' && !file.endsWith('.test.js')).sort()).to.deep.equal(
        expected.sort(),
      );
      expect(Object.keys(table)).to.deep.equal(Object.keys(service));
    });
  }

  it('answers over the wire, and what is not there yet says so', async () => {
    const server = await openTestServer(silentLogger);
    try {
      const missing: string[] = [];
      for (const [name, method] of Object.entries({ ...RuntimeServiceService, ...ImageServiceService })) {
        const code = await callEmpty(server.socket, method.path, method.responseStream);
        if (code.code === Number(status.UNIMPLEMENTED) && code.details.endsWith('not supported yet'))
          missing.push(name);
        else expect(code.code, name).not.to.equal(status.UNIMPLEMENTED);
      }
      expect(missing).to.deep.equal(['checkpointPod', 'restorePod']);
    } finally {
      await server.close();
    }
  });
});

/** Sends an empty message to any method and returns how it ended. */
function callEmpty(
  socket: string,
  method: string,
  stream: boolean,
): Promise<{ code: number; details: string }> {
  const client = new Client(`unix:${socket}`, credentials.createInsecure());
  const encode = (value: Buffer): Buffer => value;
  return new Promise((resolve) => {
    const finish = (code: number, details: string): void => {
      client.close();
      resolve({ code, details });
    };
    if (stream) {
      // Events go on until somebody has enough of them.
      const deadline = Date.now() + 500;
      const call = client.makeServerStreamRequest(method, encode, encode, Buffer.alloc(0), { deadline });
      call.on('data', () => undefined);
      call.on('error', () => undefined);
      call.on('status', ({ code, details }) => finish(code, details));
    } else {
      client.makeUnaryRequest(method, encode, encode, Buffer.alloc(0), (error) =>
        finish(error?.code ?? 0, error?.details ?? ''),
      );
    }
  });
}

/** A server with one unary and one streaming method, whose handlers a test gives. */
async function withHandlers(
  handlers: {
    unary?: Unary<VersionRequest, VersionResponse>;
    stream?: Stream<VersionRequest, VersionResponse>;
  },
  use: (client: Client) => Promise<void>,
  log = silentLogger,
): Promise<void> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'podwright-rpc-'));
  const unary = RuntimeServiceService.version;
  const service = { unary, stream: { ...unary, path: '/test/Stream', responseStream: true as const } };
  const server = new Server();
  const table = {
    unary: handlers.unary ?? (() => VersionResponse.create()),
    stream: handlers.stream ?? async function* () {},
  };
  server.addService(service, implementService(service, table as never, { log } as Services));
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${directory}/s`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  const client = new Client(`unix:${directory}/s`, credentials.createInsecure());
  try {
    await use(client);
  } finally {
    client.close();
    server.forceShutdown();
    await rm(directory, { recursive: true });
  }
}

const { path: versionPath, requestSerialize, responseDeserialize } = RuntimeServiceService.version;

function callUnary(
  client: Client,
  timeoutMs = 5000,
  whenSent?: (cancel: () => void) => void,
): Promise<VersionResponse> {
  return new Promise((resolve, reject) => {
    const call = client.makeUnaryRequest(
      versionPath,
      requestSerialize,
      responseDeserialize,
      VersionRequest.create(),
      new Metadata(),
      { deadline: Date.now() + timeoutMs },
      (error, response) =>
        error === null && response !== undefined ? resolve(response) : reject(error ?? new Error()),
    );
    whenSent?.(() => call.cancel());
  });
}

describe('answering a call', () => {
  for (const [name, unary, code, details] of [
    [
      'a RuntimeError that is thrown',
      () => {
        throw new RuntimeError('NotFound', 'container', {
          subject: 'x',
          cause: new Error('no such container'),
        });
      },
      status.NOT_FOUND,
      'container x: no such container',
    ],
    [
      'a rejected promise',
      async () => Promise.reject(new RuntimeError('ResourceExhausted', 'disk full')),
      status.RESOURCE_EXHAUSTED,
      'disk full',
    ],
    [
      'any other error',
      () => {
        throw new TypeError('x is not a function');
      },
      status.INTERNAL,
      'x is not a function',
    ],
    [
      'a system error',
      () => {
        throw Object.assign(new Error('open /x: ENOENT'), { code: 'ENOENT' });
      },
      status.NOT_FOUND,
      'open /x: ENOENT',
    ],
    [
      'something that is no error',
      () => {
        // eslint-disable-next-line @typescript-eslint/only-throw-error -- a library may
        throw 'text';
      },
      status.INTERNAL,
      'text',
    ],
    [
      'text that no header can carry',
      () => {
        throw new RuntimeError('Aborted', 'lone \ud800 surrogate, new\nline, ünïcode');
      },
      status.ABORTED,
      'lone � surrogate, new\nline, ünïcode',
    ],
  ] as [string, Unary<VersionRequest, VersionResponse>, status, string][]) {
    it(`turns ${name} into a status`, async () => {
      await withHandlers({ unary }, async (client) => {
        const error = await refusal(callUnary(client));
        expect([error.code, error.details]).to.deep.equal([code, details]);
      });
    });
  }

  it('shortens a long text', async () => {
    const unary = (): never => {
      throw new RuntimeError('Internal', 'ü'.repeat(1_000_000));
    };
    await withHandlers({ unary }, async (client) => {
      const error = await refusal(callUnary(client));
      expect(error.code).to.equal(status.INTERNAL);
      expect(error.details).to.match(/^ü{1536}…$/);
    });
  });

  it('aborts the signal at the deadline and answers DeadlineExceeded', async () => {
    let reason: unknown;
    const unary = (_: VersionRequest, { signal }: Call) =>
      new Promise<never>((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          reason = signal.reason;
          reject(signal.reason as Error);
        });
      });
    await withHandlers({ unary }, async (client) => {
      const error = await refusal(callUnary(client, 50));
      expect(error.code).to.equal(status.DEADLINE_EXCEEDED);
      await eventually(() => reason !== undefined);
      expect(reason).to.be.instanceOf(RuntimeError).with.property('code', 'DeadlineExceeded');
    });
  });

  it('aborts the signal when the client cancels', async () => {
    let reason: unknown;
    let cancel: (() => void) | undefined;
    const unary = (_: VersionRequest, { signal }: Call) =>
      new Promise<never>((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          reason = signal.reason;
          reject(signal.reason as Error);
        });
        cancel?.();
      });
    await withHandlers({ unary }, async (client) => {
      const error = await refusal(callUnary(client, 5000, (stop) => (cancel = stop)));
      expect(error.code).to.equal(status.CANCELLED);
      await eventually(() => reason !== undefined);
      expect(reason).to.be.instanceOf(RuntimeError).with.property('code', 'Cancelled');
    });
  });

  it('streams messages and ends with the status of what was thrown', async () => {
    const stream = async function* () {
      for (let number = 0; number < 1000; number++)
        yield VersionResponse.create({ version: `${number}`.padEnd(1000) });
      throw new RuntimeError('Unavailable', 'that was all');
    };
    await withHandlers({ stream }, async (client) => {
      const call = client.makeServerStreamRequest(
        '/test/Stream',
        requestSerialize,
        responseDeserialize,
        VersionRequest.create(),
      );
      let count = 0;
      const ended = new Promise<Error>((resolve) => call.on('error', resolve));
      call.on('data', () => count++);
      expect(await ended).to.deep.include({ code: status.UNAVAILABLE, details: 'that was all' });
      expect(count).to.equal(1000);
    });
  });

  it('ends a stream whose client does not read and goes away', async () => {
    let ended = false;
    const stream = async function* () {
      try {
        for (;;) yield VersionResponse.create({ version: 'x'.repeat(100_000) });
      } finally {
        ended = true;
      }
    };
    await withHandlers({ stream }, async (client) => {
      const call = client.makeServerStreamRequest(
        '/test/Stream',
        requestSerialize,
        responseDeserialize,
        VersionRequest.create(),
      );
      call.on('error', () => undefined);
      await new Promise((resolve) => call.once('data', resolve));
      call.pause();
      call.cancel();
      await eventually(() => ended);
    });
  });

  it('answers once, whatever becomes of the log', async () => {
    const fail = (): never => {
      throw new Error('disk full');
    };
    const log = { debug: fail, info: fail, warn: fail, error: fail };
    const warnings: string[] = [];
    const note = ({ message }: Error): unknown => warnings.push(message);
    process.on('warning', note);
    const answer = VersionResponse.create({ version: 'x' });
    const refuse = (): never => {
      throw new RuntimeError('NotFound', 'container');
    };
    try {
      await withHandlers(
        { unary: () => answer },
        async (client) => {
          expect(await callUnary(client)).to.deep.equal(answer);
        },
        log,
      );
      await withHandlers(
        { unary: refuse },
        async (client) => {
          expect((await refusal(callUnary(client))).code).to.equal(status.NOT_FOUND);
        },
        log,
      );
      await withHandlers(
        {
          stream: async function* () {
            yield answer;
          },
        },
        async (client) => {
          const call = client.makeServerStreamRequest(
            '/test/Stream',
            requestSerialize,
            responseDeserialize,
            VersionRequest.create(),
          );
          const ended = new Promise<{ code: number }>((resolve) => call.on('status', resolve));
          call.on('error', () => undefined);
          call.on('data', () => undefined);
          expect((await ended).code).to.equal(status.OK);
        },
        log,
      );
      await eventually(() => warnings.length === 3);
    } finally {
      process.off('warning', note);
    }
    expect(new Set(warnings)).to.deep.equal(
      new Set([
        'unary was answered but not logged: disk full',
        'stream was answered but not logged: disk full',
      ]),
    );
  });

  it('logs ids and the outcome, never the rest of a request', async () => {
    const lines: unknown[] = [];
    const write = (message: string, fields?: object | (() => object)): void =>
      void lines.push({ message, ...(typeof fields === 'function' ? fields() : fields) });
    const log = { debug: write, info: write, warn: write, error: write };
    const server = await openTestServer(log);
    try {
      await refusal(
        ask(server.images, ImageServiceService.pullImage, {
          image: undefined,
          auth: {
            username: 'u',
            password: 'S3CRET',
            auth: 'S3CRET',
            serverAddress: '',
            identityToken: 'S3CRET',
            registryToken: 'S3CRET',
          },
          sandboxConfig: undefined,
        }),
      );
      await ask(server.client, RuntimeServiceService.stopContainer, { containerId: 'abc', timeout: 0n });
    } finally {
      await server.close();
    }
    expect(JSON.stringify(lines)).not.to.contain('S3CRET');
    expect(lines[0]).to.deep.include({ message: 'rpc failed', rpc: 'pullImage', code: 'InvalidArgument' });
    expect(lines[1]).to.deep.include({ message: 'rpc answered', rpc: 'stopContainer', containerId: 'abc' });
  });
});
