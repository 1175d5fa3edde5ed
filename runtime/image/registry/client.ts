import type { Logger } from '../../base/logger.js';
import { algorithmOf, digestOf, parseDigest, type Digest } from '../../base/digest.js';
import { codeOf, messageOf, RuntimeError } from '../../errors.js';
import { manifestLimitBytes, redirectLimit } from '../limits.js';
import { acceptedManifests, type RawManifest } from '../manifest.js';
import { readAnswer } from './answer.js';
import type { Authorizer } from './authorizer.js';
import type { Endpoint } from './endpoint.js';
import {
  failureOf,
  isInterruption,
  isTransient,
  readRefusalError,
  retryAfterMs,
  type RefusalError,
} from './failures.js';
import { retry, type RetryOptions } from './retry.js';
import { speaksNoTls, type Transport, type TransportResponse } from './transport.js';

export interface RegistryClientOptions {
  readonly transport: Transport;
  readonly authorizer: Authorizer;
  /** In the order to try them; the registry itself is the last. */
  readonly endpoints: readonly Endpoint[];
  /** Registry that the reference names. */
  readonly domain: string;
  readonly repository: string;
  readonly idleTimeoutMs: number;
  readonly retry: RetryOptions;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

interface Send {
  readonly method: 'GET' | 'HEAD';
  /** `manifests/latest`, `blobs/sha256:…` */
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface FetchedManifest extends RawManifest {
  readonly digest: Digest;
}

/** A blob from an offset on: either read in chunks or, if it comes whole, given away with its connection. */
export interface BlobBody {
  readonly chunks: AsyncIterable<Uint8Array>;
  readonly giveAway?: TransportResponse['giveAway'];
}

/** One repository of one registry during one pull, seen through its mirrors (OCI distribution-spec, pull). */
export class RegistryClient {
  /** Mirrors by the blobs they delivered, and those that delivered wrong ones. */
  private readonly served = new Map<Digest, Endpoint>();
  private readonly distrusted = new Set<Endpoint>();
  /** Endpoints that turned out to speak plain http. */
  private readonly withoutTls = new Set<Endpoint>();

  constructor(private readonly options: RegistryClientOptions) {}

  /** The digest a tag (or digest) stands for, or undefined where the registry does not say: then only {@link manifest} can tell. */
  async resolve(reference: string): Promise<Digest | undefined> {
    const need = parseDigest(reference) === undefined ? 'resolve' : 'pull';
    return this.onEndpoints(need, async (endpoint) => {
      const response = await this.send(endpoint, {
        method: 'HEAD',
        target: `manifests/${reference}`,
        headers: { accept: acceptedManifests },
      });
      if (response.status === 200 || !knowsHead(response)) {
        response.discard();
        return parseDigest(digestHeader(response));
      }
      throw await this.refused(endpoint, response, `manifest ${reference}`);
    });
  }

  /** A manifest or index by tag or digest, its digest checked. */
  async manifest(reference: string): Promise<FetchedManifest> {
    const wanted = parseDigest(reference);
    return this.onEndpoints(wanted === undefined ? 'resolve' : 'pull', async (endpoint) => {
      const response = await this.send(endpoint, {
        method: 'GET',
        target: `manifests/${reference}`,
        headers: { accept: acceptedManifests },
      });
      if (response.status !== 200) throw await this.refused(endpoint, response, `manifest ${reference}`);
      const announced = parseDigest(digestHeader(response));
      const content = await readAnswer(response, manifestLimitBytes, 'manifest');
      const expected = wanted ?? announced;
      const digest = digestOf(content, expected === undefined ? 'sha256' : algorithmOf(expected));
      for (const digestExpected of [wanted, announced])
        if (digestExpected !== undefined && algorithmOf(digestExpected) === algorithmOf(digest))
          checkDigest(endpoint, digestExpected, digest);
      return { content, digest, mediaType: mediaTypeOf(response) };
    });
  }

  /** Opens a blob at an offset. The body starts there, whether or not the registry knows ranges. Nothing is checked. */
  async blob(digest: Digest, offset: number): Promise<BlobBody> {
    const range: Record<string, string> = offset > 0 ? { range: `bytes=${offset}-` } : {};
    const headers = { accept: '*/*', 'accept-encoding': 'identity', ...range };
    const open = async (endpoint: Endpoint): Promise<BlobBody> => {
      const response = await this.send(endpoint, { method: 'GET', target: `blobs/${digest}`, headers });
      if (endpoint.mirror) this.served.set(digest, endpoint);
      else this.served.delete(digest);
      const { status, body, giveAway } = response;
      if (status === 200 && offset === 0) return { chunks: body, giveAway };
      if (status === 200) return { chunks: skip(body, offset) };
      if (status === 206 && contentStart(response) === offset) return { chunks: body };
      throw await this.refused(endpoint, response, `blob ${digest}`);
    };
    return this.onEndpoints('pull', open, isInterruption);
  }

  /** After a blob was wrong: its mirror is asked no more. False if the registry itself sent it. */
  distrust(digest: Digest): boolean {
    const mirror = this.served.get(digest);
    if (mirror === undefined) return false;
    this.served.delete(digest);
    this.distrusted.add(mirror);
    this.options.logger.warn('mirror sent a wrong blob, asking it no more', {
      mirror: mirror.host,
      digest,
    });
    return true;
  }

  /** Tries the endpoints in turn. The last one's failure counts: it is the registry itself. */
  private async onEndpoints<T>(
    need: 'pull' | 'resolve',
    work: (endpoint: Endpoint) => Promise<T>,
    mayPass: (error: unknown) => boolean = isTransient,
  ): Promise<T> {
    const { endpoints, logger, signal, domain, retry: retryOptions } = this.options;
    const policy = { ...retryOptions, signal, isTransient: mayPass, delayOf: retryAfterMs };
    const usable = endpoints.filter(
      (endpoint) => !this.distrusted.has(endpoint) && (need === 'pull' || endpoint.resolves),
    );
    for (const [index, endpoint] of usable.entries()) {
      const last = index === usable.length - 1;
      try {
        return last ? await retry(() => this.at(endpoint, work), policy) : await this.at(endpoint, work);
      } catch (error) {
        signal.throwIfAborted();
        const failure = failureOf(error, endpoint.host);
        if (last) throw failure;
        logger.warn('mirror failed, trying the next', {
          mirror: endpoint.host,
          error: messageOf(failure),
          code: codeOf(failure),
        });
      }
    }
    throw new RuntimeError('FailedPrecondition', 'registry', {
      subject: domain,
      cause: `its configuration allows no endpoint to ${need}`,
      reason: 'RegistryConfigInvalid',
    });
  }

  /** By plain http where that is what the endpoint speaks, if it may. */
  private async at<T>(endpoint: Endpoint, work: (endpoint: Endpoint) => Promise<T>): Promise<T> {
    const { plainHttp } = endpoint;
    if (plainHttp === undefined) return work(endpoint);
    if (!this.withoutTls.has(endpoint)) {
      try {
        return await work(endpoint);
      } catch (error) {
        if (!speaksNoTls(error)) throw error;
        this.withoutTls.add(endpoint);
      }
    }
    return work(plainHttp);
  }

  /** One request with authorization: a challenge is answered and the request repeated. */
  private async send(endpoint: Endpoint, request: Send): Promise<TransportResponse> {
    const { authorizer, signal } = this.options;
    // A cached token may be refused, then the new one: a third refusal is final.
    for (let round = 0; ; round++) {
      const { response, atEndpoint } = await this.follow(endpoint, request, authorizer.header(endpoint));
      if (response.status !== 401 || !atEndpoint || round === 2) return response;
      const offered = await authorizer.answer(endpoint, response.headers['www-authenticate'], signal);
      if (!offered) return response;
      response.discard();
    }
  }

  /**
   * Follows redirects. What is meant for the endpoint (authorization, configured headers, client certificate) is dropped
   * for good when one leads to another origin, and none leads from https to http.
   */
  private async follow(
    endpoint: Endpoint,
    { method, target, headers }: Send,
    authorization: string | undefined,
  ): Promise<{ response: TransportResponse; atEndpoint: boolean }> {
    const { transport, idleTimeoutMs, signal } = this.options;
    let url = this.urlOf(endpoint, target);
    let atEndpoint = true;
    for (let hops = 0; hops <= redirectLimit; hops++) {
      const own = atEndpoint
        ? { ...endpoint.headers, ...(authorization === undefined ? {} : { authorization }) }
        : {};
      const response = await transport.send({
        url,
        method,
        headers: { ...headers, ...own },
        tls: atEndpoint ? endpoint.tls : { ...endpoint.tls, client: [] },
        dialTimeoutMs: endpoint.dialTimeoutMs,
        idleTimeoutMs,
        signal,
      });
      const location = redirectOf(response);
      if (location === undefined) return { response, atEndpoint };
      response.discard();
      url = nextUrl(url, location, endpoint);
      atEndpoint = atEndpoint && url.origin === endpoint.origin;
    }
    throw new RuntimeError('Unavailable', 'follow redirects', {
      subject: endpoint.host,
      cause: `more than ${redirectLimit}`,
      reason: 'RegistryProtocolError',
    });
  }

  private urlOf(endpoint: Endpoint, target: string): URL {
    const url = new URL(`${endpoint.origin}${endpoint.prefix}/${this.options.repository}/${target}`);
    if (endpoint.mirror) url.searchParams.set('ns', this.options.domain);
    return url;
  }

  private refused(endpoint: Endpoint, response: TransportResponse, what: string): Promise<RefusalError> {
    return readRefusalError(response, {
      host: endpoint.host,
      what: `${what} of ${this.options.repository}`,
      why401: this.options.authorizer.explain(endpoint),
    });
  }
}

/** Some registries only know GET. */
function knowsHead({ status }: TransportResponse): boolean {
  return status !== 405 && status !== 501;
}

function digestHeader(response: TransportResponse): string {
  const value = response.headers['docker-content-digest'];
  return typeof value === 'string' ? value : '';
}

function mediaTypeOf(response: TransportResponse): string | undefined {
  return response.headers['content-type']?.split(';')[0]?.trim().toLowerCase();
}

function checkDigest(endpoint: Endpoint, expected: Digest, actual: Digest): void {
  if (expected === actual) return;
  throw new RuntimeError('DataLoss', 'check manifest', {
    subject: expected,
    cause: `${endpoint.host} sent a document with the digest ${actual}`,
    reason: 'DigestMismatch',
  });
}

function contentStart(response: TransportResponse): number | undefined {
  const start = /^bytes (\d+)-/.exec(response.headers['content-range'] ?? '')?.[1];
  return start === undefined ? undefined : Number(start);
}

/** For a registry without ranges: what we have already is read again and dropped. */
async function* skip(body: AsyncIterable<Uint8Array>, bytes: number): AsyncIterable<Uint8Array> {
  let left = bytes;
  for await (const chunk of body) {
    const dropped = Math.min(left, chunk.length);
    left -= dropped;
    if (dropped < chunk.length) yield chunk.subarray(dropped);
  }
}

function redirectOf(response: TransportResponse): string | undefined {
  return [301, 302, 303, 307, 308].includes(response.status) ? response.headers.location : undefined;
}

function nextUrl(from: URL, location: string, endpoint: Endpoint): URL {
  const url = URL.canParse(location, from.href) ? new URL(location, from.href) : undefined;
  const allowed = url?.protocol === 'https:' || (url?.protocol === 'http:' && from.protocol === 'http:');
  if (url === undefined || !allowed)
    throw new RuntimeError('Unavailable', 'follow redirect', {
      subject: endpoint.host,
      cause: url === undefined ? 'it is no URL' : `it leads from https to ${url.protocol.slice(0, -1)}`,
      reason: 'RegistryProtocolError',
    });
  url.username = '';
  url.password = '';
  return url;
}
