import type { HandlerTable } from '../rpc.js';
import { type Explanation, explain } from './why.js';

/** Id or name of a pod or container, or the reference of an image. */
export interface WhyRequest {
  readonly object: string;
}

const toJson = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

/**
 * The one call that the CRI does not have, on the CRI's socket: `podwright why` asks it. Messages are JSON, since nobody
 * else needs a definition of it.
 */
export const explainService = {
  why: {
    path: '/podwright.v1.Podwright/Why',
    requestStream: false,
    responseStream: false,
    requestSerialize: (request: WhyRequest): Buffer => toJson(request),
    requestDeserialize: readRequest,
    responseSerialize: (explanation: Explanation): Buffer => toJson(explanation),
    responseDeserialize: (bytes: Buffer): Explanation => JSON.parse(bytes.toString()) as Explanation,
  },
} as const;

export const explainHandlers: HandlerTable<typeof explainService> = {
  why: async ({ object }, { journal, runtime }) => explain(object, journal, runtime),
};

/** What cannot be read asks for nothing, which is refused. */
function readRequest(bytes: Buffer): WhyRequest {
  try {
    const { object } = JSON.parse(bytes.toString()) as Partial<WhyRequest>;
    return { object: typeof object === 'string' ? object : '' };
  } catch {
    return { object: '' };
  }
}
