import type {
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
  UntypedServiceImplementation,
  sendUnaryData,
} from '@grpc/grpc-js';
import { performance } from 'node:perf_hooks';
import { RuntimeError, codeOf, messageOf } from '../runtime/errors.js';
import { namesOf, noteCall } from './journal/observe.js';
import type { Metrics } from './metrics/types.js';
import type { Services } from './services.js';
import { statusOf } from './status.js';

/** What a handler gets besides its request. */
export interface Call extends Services {
  /** Fires when the client's deadline has passed or the client has gone. */
  readonly signal: AbortSignal;
}

/** Answers a unary rpc with a message, or with the message's bytes if they are at hand. */
export type Unary<Request, Response> = (
  request: Request,
  call: Call,
) => Response | Buffer | Promise<Response | Buffer>;

/** Answers a streaming rpc with messages as they come. It ends when `call.signal` fires. */
export type Stream<Request, Response> = (request: Request, call: Call) => AsyncIterable<Response | Buffer>;

interface MethodShape {
  readonly path: string;
  readonly responseStream: boolean;
  readonly requestDeserialize: (bytes: Buffer) => unknown;
  readonly responseDeserialize: (bytes: Buffer) => unknown;
}

type Handler<Method extends MethodShape> = Method['responseStream'] extends true
  ? Stream<ReturnType<Method['requestDeserialize']>, ReturnType<Method['responseDeserialize']>>
  : Unary<ReturnType<Method['requestDeserialize']>, ReturnType<Method['responseDeserialize']>>;

/** One handler for each rpc of a generated service definition. */
export type HandlerTable<Service extends Readonly<Record<string, MethodShape>>> = {
  readonly [Name in keyof Service]: Handler<Service[Name]>;
};

/**
 * Calls that change something are logged at info, the others (lists, status, stats, exec probes: several a second on
 * an idle node) at debug.
 */
const loggedRpcs: ReadonlySet<string> = new Set([
  'runPodSandbox',
  'stopPodSandbox',
  'removePodSandbox',
  'createContainer',
  'startContainer',
  'stopContainer',
  'removeContainer',
  'updateContainerResources',
  'updatePodSandboxResources',
  'updateRuntimeConfig',
  'checkpointContainer',
  'checkpointPod',
  'restorePod',
  'pullImage',
  'removeImage',
]);

/** The generated definition, but answers that are bytes already are sent as they are. */
export function acceptEncoded<Service extends ServiceDefinition>(service: Service): ServiceDefinition {
  return Object.fromEntries(
    Object.entries(service).map(([name, method]) => [
      name,
      {
        ...method,
        responseSerialize: (value: unknown): Buffer =>
          Buffer.isBuffer(value) ? value : method.responseSerialize(value),
      },
    ]),
  );
}

/**
 * Makes the functions grpc-js calls out of a table of handlers. This is the only place that answers a call: grpc-js
 * drops the text of thrown errors and never answers where a handler's promise is rejected.
 */
export function implementService<Service extends ServiceDefinition & Readonly<Record<string, MethodShape>>>(
  service: Service,
  handlers: HandlerTable<Service>,
  services: Services,
): UntypedServiceImplementation {
  const implementation: UntypedServiceImplementation = {};
  for (const [name, { path, responseStream }] of Object.entries<MethodShape>(service)) {
    const handler = handlers[name];
    const method = { rpc: name, path };
    implementation[name] = responseStream
      ? streamAnswerer(method, handler as Stream<unknown, unknown>, services)
      : unaryAnswerer(method, handler as Unary<unknown, unknown>, services);
  }
  return implementation;
}

interface Method {
  readonly rpc: string;
  /** `/package.Service/Method` */
  readonly path: string;
}

/** A call in progress, as far as log, journal and metrics tell of it. */
interface Received {
  readonly rpc: string;
  readonly request: unknown;
  readonly startedAtMs: number;
  readonly services: Services;
  readonly metered: ReturnType<Metrics['begin']> | undefined;
}

/** How a handler has ended; a stream has no one response. */
type Outcome = { readonly response: unknown } | { readonly failure: unknown };

function unaryAnswerer(method: Method, handler: Unary<unknown, unknown>, services: Services) {
  return (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>): void => {
    void answer();
    async function answer(): Promise<void> {
      const received = receive(method, call.request, services);
      const { signal, answered } = signalOf(call);
      let outcome: Outcome;
      try {
        outcome = { response: await handler(call.request, { ...services, signal }) };
      } catch (error) {
        outcome = { failure: failureOf(error, signal) };
      }
      answered();
      if ('failure' in outcome) callback(toStatus(outcome.failure));
      else callback(null, outcome.response);
      // The client first: it waits, the log does not. grpc-js sends the answer in several turns of its own.
      setImmediate(tell, received, outcome);
    }
  };
}

function streamAnswerer(method: Method, handler: Stream<unknown, unknown>, services: Services) {
  return (call: ServerWritableStream<unknown, unknown>): void => {
    void answer();
    async function answer(): Promise<void> {
      const received = receive(method, call.request, services);
      const { signal, answered } = signalOf(call);
      let outcome: Outcome;
      try {
        for await (const response of handler(call.request, { ...services, signal })) {
          if (!call.write(response)) await drained(call, signal);
        }
        outcome = { response: undefined };
      } catch (error) {
        outcome = { failure: failureOf(error, signal) };
      }
      answered();
      // grpc-js ends the call with the status that such an error carries.
      if ('failure' in outcome) call.emit('error', toStatus(outcome.failure));
      else call.end();
      tell(received, outcome);
    }
  };
}

function receive({ rpc, path }: Method, request: unknown, services: Services): Received {
  return { rpc, request, startedAtMs: performance.now(), services, metered: services.metrics?.begin(path) };
}

/** Waits until the client has read what it was sent. */
function drained(call: ServerWritableStream<unknown, unknown>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onDrain = (): void => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    };
    const onAbort = (): void => {
      call.removeListener('drain', onDrain);
      reject(signal.reason as Error);
    };
    if (signal.aborted) return onAbort();
    call.once('drain', onDrain);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

type AnyCall = Pick<ServerUnaryCall<unknown, unknown>, 'cancelled' | 'getDeadline' | 'once' | 'off'>;

/** Our deadline is counted from the arrival of the call: at its own, the client is the first to cancel. */
const deadlineToleranceMs = 100;

/** grpc-js raises `cancelled` for the deadline as well as for a client that cancels or disconnects. */
function signalOf(call: AnyCall): { readonly signal: AbortSignal; readonly answered: () => void } {
  const controller = new AbortController();
  const abort = (): void => {
    const late = Number(call.getDeadline()) - Date.now() < deadlineToleranceMs;
    const reason = late
      ? new RuntimeError('DeadlineExceeded', 'the deadline of the call has passed')
      : new RuntimeError('Cancelled', 'the client has cancelled the call');
    controller.abort(reason);
  };
  if (call.cancelled) abort();
  else call.once('cancelled', abort);
  // grpc-js says so as well when an answered call's stream closes.
  return { signal: controller.signal, answered: () => call.off('cancelled', abort) };
}

/** What was thrown, or why the call was given up if that is what was thrown. */
function failureOf(error: unknown, signal: AbortSignal): unknown {
  return signal.aborted && codeOf(error) === 'Cancelled' ? signal.reason : error;
}

/** Bytes of text a status may carry: it travels in a header, which clients limit to 8 KiB in all. */
const maxDetails = 3072;

function toStatus(failure: unknown): { readonly code: number; readonly details: string } & Error {
  // Through UTF-8: a lone surrogate would make grpc-js throw while it encodes the header.
  const { code, details: sentence } = statusOf(failure);
  const text = Buffer.from(sentence);
  const details = text.length <= maxDetails ? text.toString() : `${text.subarray(0, maxDetails).toString()}…`;
  return Object.assign(new Error(details), { code, details });
}

/** Never throws: the client has its answer, and would get another one. */
function tell(received: Received, outcome: Outcome): void {
  try {
    received.metered?.('failure' in outcome ? codeOf(outcome.failure) : 'OK');
    if ('failure' in outcome) tellFailure(received, outcome.failure);
    else tellSuccess(received, outcome.response);
  } catch (error) {
    // Not to the log: it may be what has failed.
    process.emitWarning(`${received.rpc} was answered but not logged: ${messageOf(error)}`);
  }
}

function tellSuccess({ services, rpc, request, startedAtMs }: Received, response: unknown): void {
  const { journal, runtime, log } = services;
  const changes = loggedRpcs.has(rpc);
  const durationMs = elapsedMs(startedAtMs);
  const subject = noteCall(journal, runtime, { rpc, request, response, durationMs });
  log[changes ? 'info' : 'debug']('rpc answered', () => ({
    rpc,
    durationMs,
    ...idsOf(request),
    ...(changes ? { ...idsOf(response), ...namesOf(subject) } : {}),
  }));
}

function tellFailure({ services, rpc, request, startedAtMs }: Received, failure: unknown): void {
  const { journal, runtime, log } = services;
  const code = codeOf(failure);
  const durationMs = elapsedMs(startedAtMs);
  const subject = noteCall(journal, runtime, { rpc, request, failure, durationMs });
  const fields = {
    rpc,
    code,
    durationMs,
    ...idsOf(request),
    ...namesOf(subject),
    error: messageOf(failure),
  };
  // A failure that is no RuntimeError anywhere is a mistake of ours: keep where it came from.
  if (code === 'Internal' && !(failure instanceof RuntimeError)) {
    log.error('rpc failed', { ...fields, stack: failure instanceof Error ? failure.stack : undefined });
  } else {
    log[loggedRpcs.has(rpc) ? 'warn' : 'debug']('rpc failed', fields);
  }
}

function elapsedMs(startedAtMs: number): number {
  return Math.round((performance.now() - startedAtMs) * 100) / 100;
}

const idFields = ['podSandboxId', 'containerId', 'imageRef'] as const;

/** The ids in a message; besides names, nothing else of a request is ever logged. */
function idsOf(message: unknown): Readonly<Record<string, string>> {
  const ids: Record<string, string> = {};
  if (typeof message !== 'object' || message === null || Buffer.isBuffer(message)) return ids;
  const fields = message as Readonly<Record<string, unknown>>;
  for (const name of idFields) {
    const value = fields[name];
    if (typeof value === 'string' && value !== '') ids[name] = value;
  }
  return ids;
}
