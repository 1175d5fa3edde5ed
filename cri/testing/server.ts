import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { type ClientUnaryCall, Metadata, type ServiceError, credentials } from '@grpc/grpc-js';
import { ImageServiceClient, RuntimeServiceClient } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Logger } from '../../runtime/base/logger.js';
import { loadConfig } from '../config.js';
import { CpuRates } from '../cpu-rates.js';
import { serve } from '../server.js';
import type { Services } from '../services.js';
import { UserDatabases } from '../user-databases.js';
import { testHost } from './fixtures.js';
import { type InMemoryRuntime, openInMemoryRuntime } from './in-memory-runtime.js';

export interface TestServer {
  readonly socket: string;
  readonly services: Services;
  readonly runtime: InMemoryRuntime;
  readonly client: RuntimeServiceClient;
  readonly images: ImageServiceClient;
  close(): Promise<void>;
}

/** The real server on a real socket in a directory of its own, over a runtime in memory. */
export async function openTestServer(log: Logger, settings: readonly string[] = []): Promise<TestServer> {
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
  };
  const server = await serve(services, socket);
  const channelOptions = { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 };
  const client = new RuntimeServiceClient(`unix:${socket}`, credentials.createInsecure(), channelOptions);
  const images = new ImageServiceClient(`unix:${socket}`, credentials.createInsecure(), channelOptions);
  return {
    socket,
    services,
    runtime,
    client,
    images,
    close: async () => {
      client.close();
      images.close();
      await server.close(1000);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

type UnaryMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: { readonly deadline: number },
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

/** Calls a unary method of a generated client; rejects with the ServiceError. */
export function ask<Request, Response>(
  client: RuntimeServiceClient | ImageServiceClient,
  method: UnaryMethod<Request, Response>,
  request: Request,
  timeoutMs = 5000,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    method.call(client, request, new Metadata(), { deadline: Date.now() + timeoutMs }, (error, response) => {
      if (error === null) resolve(response);
      else reject(error);
    });
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
