import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Client, Metadata, type ServiceError, credentials } from '@grpc/grpc-js';
import type { Logger } from '../../runtime/base/logger.js';
import { loadConfig } from '../config.js';
import { CpuRates } from '../cpu-rates.js';
import { ContainerEvents } from '../events/container-events.js';
import { Journal } from '../journal/journal.js';
import { type CriServer, serve } from '../server.js';
import type { Services } from '../services.js';
import { StreamingServer } from '../streaming/server.js';
import { UserDatabases } from '../user-databases.js';
import { testHost } from './fixtures.js';
import { type InMemoryRuntime, openInMemoryRuntime } from './in-memory-runtime.js';

export interface TestServer {
  readonly cri: CriServer;
  readonly socket: string;
  readonly services: Services;
  readonly runtime: InMemoryRuntime;
  /** One connection for both services, under two names. */
  readonly client: Client;
  readonly images: Client;
  close(): Promise<void>;
}

/** The real server on a real socket in a directory of its own, over a runtime in memory. */
export async function openTestServer(
  log: Logger,
  settings: readonly string[] = [],
  more: Pick<Services, 'metrics'> = {},
): Promise<TestServer> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'podwright-cri-'));
  const socket = path.join(directory, 'cri.sock');
  const runtime = openInMemoryRuntime();
  const { config } = await loadConfig({ file: '/dev/null', settings });
  const services: Services = {
    version: '0.0.0-test',
    runtime,
    config,
    log,
    host: testHost,
    cpuRates: new CpuRates(),
    userDatabases: new UserDatabases(runtime.rootfs),
    events: new ContainerEvents(log),
    journal: new Journal(undefined, log),
    streaming: new StreamingServer({ address: '127.0.0.1', port: 0, idleTimeoutMs: 0, logger: log }),
    ...more,
  };
  const cri = await serve(services, socket);
  const channelOptions = { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 };
  const client = new Client(`unix:${socket}`, credentials.createInsecure(), channelOptions);
  return {
    cri,
    socket,
    services,
    runtime,
    client,
    images: client,
    close: async () => {
      client.close();
      await cri.close(1000);
      await services.streaming.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** A method of a generated service definition. */
interface Method<Request, Response> {
  readonly path: string;
  readonly requestSerialize: (value: Request) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Response;
}

/** Calls a unary method; rejects with the ServiceError. */
export function ask<Request, Response>(
  client: Client,
  method: Method<Request, Response>,
  request: Request,
  timeoutMs = 5000,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      new Metadata(),
      { deadline: Date.now() + timeoutMs },
      (error, response) => {
        if (error === null && response !== undefined) resolve(response);
        else reject(error ?? new Error('no response'));
      },
    );
  });
}

/** The error of a call that must fail. */
export async function refusal(call: Promise<unknown>): Promise<ServiceError> {
  try {
    await call;
  } catch (error) {
    return error as ServiceError;
  }
  throw new Error('the call succeeded');
}
