import { codeOf, errnoOf, RuntimeError, type ErrorCode } from '../../errors.js';
import { readRefusal } from './answer.js';
import { ConnectionError, type TransportResponse } from './transport.js';

/**
 * What a registry's failures mean to the caller. Messages name the registry and the cause in words; they never hold
 * credentials, tokens or the query of a URL.
 */

export interface Refusal {
  readonly host: string;
  /** `manifest latest of library/busybox` */
  readonly what: string;
  /** What a 401 means here. */
  readonly why401: string;
  readonly status: number;
  /** The registry's own words, made harmless. */
  readonly said: string;
  /** How long the registry asks us to wait. */
  readonly retryAfterMs: number | undefined;
}

/** An answer that is not the content asked for. Becomes a RuntimeError when nobody tries again. */
export class RefusalError extends Error {
  override readonly name = 'RefusalError';

  constructor(readonly refusal: Refusal) {
    super(`${refusal.host} answered ${refusal.status} for ${refusal.what}`);
  }
}

/** Reads the body of an answer that is not a success. */
export async function readRefusalError(
  response: TransportResponse,
  about: Pick<Refusal, 'host' | 'what' | 'why401'>,
): Promise<RefusalError> {
  const said = await readRefusal(response);
  const retryAfterMs = parseRetryAfter(response.headers['retry-after']);
  return new RefusalError({ ...about, status: response.status, said, retryAfterMs });
}

/** Seconds, or a date (RFC 9110 §10.2.3); in milliseconds from now. */
function parseRetryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.max(ms, 0);
}

export function retryAfterMs(error: unknown): number | undefined {
  return error instanceof RefusalError ? error.refusal.retryAfterMs : undefined;
}

/** Nobody listens, or there is no such name: a second's patience changes nothing, the caller comes back later. */
const neverThere = ['ECONNREFUSED', 'ENOTFOUND'];

/** Whether the same request may succeed a little later, before anything was heard from this registry. */
export function isTransient(error: unknown): boolean {
  return (
    isInterruption(error) &&
    !(error instanceof ConnectionError && neverThere.includes(errnoOf(error.cause) ?? ''))
  );
}

/** The same for a registry that has just served us: one that is gone now is restarting. */
export function isInterruption(error: unknown): boolean {
  if (error instanceof ConnectionError) return error.transient;
  if (!(error instanceof RefusalError)) return false;
  const { status } = error.refusal;
  return status >= 500 || status === 429 || status === 408;
}

interface Meaning {
  readonly code: ErrorCode;
  readonly reason: string;
  readonly cause: string;
}

function meaningOf({ status, why401 }: Refusal): Meaning {
  switch (status) {
    case 401:
      return { code: 'Unauthenticated', reason: 'RegistryUnauthorized', cause: why401 };
    case 403:
      return { code: 'PermissionDenied', reason: 'RegistryForbidden', cause: 'the registry forbids it' };
    case 404:
      return { code: 'NotFound', reason: 'ImageNotFound', cause: 'the registry does not have it' };
    case 429:
      return {
        code: 'ResourceExhausted',
        reason: 'RegistryRateLimited',
        cause: 'the registry limits our requests',
      };
    default:
      return status >= 500
        ? {
            code: 'Unavailable',
            reason: 'RegistryUnavailable',
            cause: `the registry fails with status ${status}`,
          }
        : { code: 'Unavailable', reason: 'RegistryProtocolError', cause: `unexpected status ${status}` };
  }
}

/** Any failure of a registry as an error for the caller. */
export function failureOf(error: unknown, host: string): RuntimeError {
  if (error instanceof RuntimeError) return error;
  if (error instanceof ConnectionError)
    return new RuntimeError('Unavailable', 'reach registry', { cause: error, reason: 'RegistryUnavailable' });
  if (!(error instanceof RefusalError))
    return new RuntimeError(codeOf(error), 'ask registry', { subject: host, cause: error });
  const { refusal } = error;
  const { code, reason, cause } = meaningOf(refusal);
  return new RuntimeError(code, `get ${refusal.what} from`, {
    subject: refusal.host,
    cause: refusal.said === '' ? cause : `${cause} (${refusal.said})`,
    reason,
  });
}
