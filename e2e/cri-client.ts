import { Client, Metadata, credentials, type CallOptions, type ServiceError } from '@grpc/grpc-js';
import * as api from '../protos/gen/cri/runtime/v1/api.js';
import { slowness } from './slowness.js';

/**
 * A CRI client with promises, over the generated definitions. Requests may leave out whatever is zero or empty:
 *
 *     await client.runtime.podSandboxStatus({ podSandboxId })
 *
 * A failed call rejects with grpc's ServiceError: `code` is the status, `details` the server's sentence.
 */
export interface CriClient extends Disposable {
  readonly runtime: Calls<typeof api.RuntimeServiceService>;
  readonly image: Calls<typeof api.ImageServiceService>;
  /** Resolves when the server accepts connections, rejects when it has not within the time. */
  ready(timeoutMs: number): Promise<void>;
  close(): void;
}

export interface CallLimits {
  /** Default one minute. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** A method of a generated service definition. */
export interface Method<Request, Response> {
  readonly path: string;
  readonly responseStream: boolean;
  readonly requestSerialize: (value: Request) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Response;
}

type Call<M> =
  M extends Method<infer Request, infer Response>
    ? M['responseStream'] extends true
      ? (request?: api.DeepPartial<Request>, limits?: CallLimits) => AsyncIterable<Response>
      : (request?: api.DeepPartial<Request>, limits?: CallLimits) => Promise<Response>
    : never;

export type Calls<Service> = { readonly [Name in keyof Service]: Call<Service[Name]> };

/** @param socket path of the server's unix socket */
export function connectCri(socket: string): CriClient {
  const client = new Client(`unix:${socket}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': 64 * 1024 * 1024,
    'grpc.max_send_message_length': 64 * 1024 * 1024,
  });
  const close = (): void => client.close();
  return {
    runtime: callsOf(client, api.RuntimeServiceService),
    image: callsOf(client, api.ImageServiceService),
    ready: (timeoutMs) => ready(client, timeoutMs),
    close,
    [Symbol.dispose]: close,
  };
}

function ready(client: Client, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    client.waitForReady(Date.now() + timeoutMs, (error) => (error ? reject(error) : resolve()));
  });
}

function callsOf<Service extends object>(client: Client, service: Service): Calls<Service> {
  const calls = Object.entries(service).map(([name, method]) => [name, callOf(client, method as AnyMethod)]);
  return Object.fromEntries(calls) as Calls<Service>;
}

type AnyMethod = Method<unknown, unknown>;

function callOf(client: Client, method: AnyMethod): (request?: object, limits?: CallLimits) => unknown {
  const complete = requestMessage(method.path);
  const make = method.responseStream ? readStream : callUnary;
  return (request = {}, limits = {}) => make(client, { method, request: complete(request), limits });
}

interface Invocation {
  readonly method: AnyMethod;
  readonly request: unknown;
  readonly limits: CallLimits;
}

function callUnary(client: Client, { method, request, limits }: Invocation): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const { path, requestSerialize, responseDeserialize } = method;
    const done = (error: ServiceError | null, response?: unknown): void =>
      error === null ? resolve(response) : reject(error);
    const call = client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      new Metadata(),
      callOptions(limits),
      done,
    );
    limits.signal?.addEventListener('abort', () => call.cancel(), { once: true });
  });
}

function readStream(client: Client, { method, request, limits }: Invocation): AsyncIterable<unknown> {
  const { path, requestSerialize, responseDeserialize } = method;
  const call = client.makeServerStreamRequest(
    path,
    requestSerialize,
    responseDeserialize,
    request,
    new Metadata(),
    callOptions(limits),
  );
  limits.signal?.addEventListener('abort', () => call.cancel(), { once: true });
  return call;
}

function callOptions({ timeoutMs = 60_000 * slowness }: CallLimits): CallOptions {
  return { deadline: Date.now() + timeoutMs };
}

interface Message {
  fromPartial(value: object): unknown;
}

/** Requests that are not named after their rpc. */
const otherNames: Readonly<Record<string, string>> = { GetContainerEvents: 'GetEvents' };

/** Fills in what a request leaves out. */
function requestMessage(rpcPath: string): (request: object) => unknown {
  const rpc = rpcPath.slice(rpcPath.lastIndexOf('/') + 1);
  const name = `${otherNames[rpc] ?? rpc}Request`;
  const message = (api as unknown as Readonly<Record<string, Message | undefined>>)[name];
  if (message === undefined) throw new Error(`the CRI has no message ${name}`);
  return (request) => message.fromPartial(request);
}
