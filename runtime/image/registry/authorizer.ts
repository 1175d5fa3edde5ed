import { parseChallenges, type Challenge } from './challenge.js';
import { credentialsFor, fingerprint, withheld, type Credentials } from './credentials.js';
import type { Endpoint } from './endpoint.js';
import { basicHeader, fetchToken, type Token } from './tokens.js';
import type { Transport } from './transport.js';
import type { RegistryAuth } from '../types.js';

const cacheLimit = 512;

/** Tokens in use, by endpoint, repository and fingerprint of the credentials. Lives as long as the daemon. */
export class TokenCache {
  private readonly tokens = new Map<string, Token>();

  get(key: string): Token | undefined {
    const token = this.tokens.get(key);
    if (token === undefined || token.expiresAtMs > Date.now()) return token;
    this.tokens.delete(key);
    return undefined;
  }

  set(key: string, token: Token): void {
    this.tokens.delete(key);
    this.tokens.set(key, token);
    const oldest = this.tokens.keys().next().value;
    if (this.tokens.size > cacheLimit && oldest !== undefined) this.tokens.delete(oldest);
  }

  delete(key: string): void {
    this.tokens.delete(key);
  }
}

export interface AuthorizerOptions {
  readonly transport: Transport;
  readonly cache: TokenCache;
  readonly auth: RegistryAuth | undefined;
  readonly domain: string;
  /** `library/busybox` */
  readonly repository: string;
  readonly idleTimeoutMs: number;
}

/** The Authorization header for one repository at each of its endpoints, in one pull. */
export class Authorizer {
  /** Endpoints (by origin) that asked for Basic. */
  private readonly basic = new Set<string>();

  constructor(private readonly options: AuthorizerOptions) {}

  /** The header to send, if any is known to be wanted. */
  header(endpoint: Endpoint): string | undefined {
    const credentials = this.credentials(endpoint);
    if (credentials.kind === 'bearer') return `Bearer ${credentials.token}`;
    if (credentials.kind === 'basic' && this.basic.has(endpoint.origin)) return basicHeader(credentials);
    const token = this.options.cache.get(this.key(endpoint, credentials));
    return token === undefined ? undefined : `Bearer ${token.value}`;
  }

  /** After a 401: gets what the registry asks for. False if there is nothing (else) to offer. */
  async answer(
    endpoint: Endpoint,
    wwwAuthenticate: string | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    const credentials = this.credentials(endpoint);
    if (credentials.kind === 'bearer') return false;
    const challenges = parseChallenges(wwwAuthenticate ?? '');
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    if (bearer !== undefined) return this.getToken(endpoint, bearer, credentials, signal);
    if (credentials.kind !== 'basic' || !challenges.some(({ scheme }) => scheme === 'basic')) return false;
    if (this.basic.has(endpoint.origin)) return false;
    this.basic.add(endpoint.origin);
    return true;
  }

  private async getToken(
    endpoint: Endpoint,
    challenge: Challenge,
    credentials: Credentials,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { transport, cache, repository, idleTimeoutMs } = this.options;
    const key = this.key(endpoint, credentials);
    // The one that was just refused, if there was one.
    cache.delete(key);
    const defaultScope = `repository:${repository}:pull`;
    const token = await fetchToken(transport, {
      endpoint,
      challenge,
      credentials,
      defaultScope,
      idleTimeoutMs,
      signal,
    });
    cache.set(key, token);
    return true;
  }

  /** Why a 401 stands, in words. */
  explain(endpoint: Endpoint): string {
    const credentials = this.credentials(endpoint);
    if (credentials.kind !== 'none') return 'the registry refuses the credentials';
    if (withheld(this.options.auth, credentials)) return 'the credentials given are for another registry';
    return 'the registry asks for credentials and none were given';
  }

  private credentials(endpoint: Endpoint): Credentials {
    return credentialsFor(this.options.auth, endpoint, this.options.domain);
  }

  private key(endpoint: Endpoint, credentials: Credentials): string {
    return [endpoint.origin, endpoint.prefix, this.options.repository, fingerprint(credentials)].join(' ');
  }
}
