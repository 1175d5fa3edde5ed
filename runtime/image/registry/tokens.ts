import { z } from 'zod';
import { RuntimeError } from '../../errors.js';
import { answerLimitBytes } from '../limits.js';
import { readAnswer, readRefusal } from './answer.js';
import type { Challenge } from './challenge.js';
import type { Credentials } from './credentials.js';
import type { Endpoint } from './endpoint.js';
import type { Transport } from './transport.js';

/** Bearer tokens from a registry's token service (distribution spec: token authentication, and its OAuth2 form). */

export interface TokenRequest {
  readonly endpoint: Endpoint;
  readonly challenge: Challenge;
  readonly credentials: Credentials;
  /** Asked for where the challenge names no scope. */
  readonly defaultScope: string;
  readonly idleTimeoutMs: number;
  readonly signal: AbortSignal;
}

export interface Token {
  readonly value: string;
  readonly expiresAtMs: number;
}

const answerSchema = z.object({
  token: z.string().nullish(),
  access_token: z.string().nullish(),
  expires_in: z.number().nullish(),
});

const clientId = 'podwright';
/** What a service means that does not say it. */
const shortestLifeSeconds = 60;

/** @throws Unauthenticated if the service refuses the credentials, Unavailable if it fails, DataLoss if it answers nonsense. */
export async function fetchToken(transport: Transport, request: TokenRequest): Promise<Token> {
  const realm = realmOf(request);
  const response = await transport.send({
    ...messageFor(request, realm),
    // The service may be another host: it gets our trust, but neither client certificate nor the mirror's headers.
    tls: {
      ...request.endpoint.tls,
      client: realm.host === request.endpoint.host ? request.endpoint.tls.client : [],
    },
    dialTimeoutMs: request.endpoint.dialTimeoutMs,
    idleTimeoutMs: request.idleTimeoutMs,
    signal: request.signal,
  });
  if (response.status !== 200) throw refusal(realm, response.status, await readRefusal(response));
  return tokenOf(realm, await readAnswer(response, answerLimitBytes, 'token'));
}

/** Where to ask. Credentials never travel by plain http unless the registry itself was configured to. */
function realmOf({ endpoint, challenge }: TokenRequest): URL {
  const text = challenge.parameters.get('realm') ?? '';
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const plainAllowed = endpoint.origin.startsWith('http:');
  if (url?.protocol === 'https:' || (url?.protocol === 'http:' && plainAllowed)) return url;
  throw new RuntimeError('DataLoss', 'ask for a token', {
    subject: endpoint.host,
    cause: `the registry names no usable token service (${url === undefined ? 'no URL' : 'plain http'})`,
    reason: 'RegistryProtocolError',
  });
}

interface Message {
  readonly url: URL;
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

function messageFor(request: TokenRequest, realm: URL): Message {
  const { challenge, credentials, defaultScope } = request;
  const scope = challenge.parameters.get('scope') ?? defaultScope;
  const service = challenge.parameters.get('service');
  return credentials.kind === 'identity'
    ? exchangeMessage(realm, credentials.token, scope, service)
    : askMessage(realm, credentials, scope, service);
}

function exchangeMessage(
  realm: URL,
  refreshToken: string,
  scope: string,
  service: string | undefined,
): Message {
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    client_id: clientId,
    scope,
    refresh_token: refreshToken,
  });
  if (service !== undefined) form.set('service', service);
  return {
    url: realm,
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: form.toString(),
  };
}

function askMessage(
  realm: URL,
  credentials: Credentials,
  scope: string,
  service: string | undefined,
): Message {
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set('service', service);
  for (const single of scope.split(' ')) url.searchParams.append('scope', single);
  if (credentials.kind !== 'basic') return { url, method: 'GET', headers: {} };
  return { url, method: 'GET', headers: { authorization: basicHeader(credentials) } };
}

export function basicHeader({ username, password }: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function refusal(realm: URL, status: number, said: string): RuntimeError {
  const denied = status === 401 || status === 403 || status === 400;
  return new RuntimeError(denied ? 'Unauthenticated' : 'Unavailable', 'ask for a token', {
    subject: realm.host,
    cause: `the token service answered ${status}${said === '' ? '' : `: ${said}`}`,
    reason: denied ? 'RegistryUnauthorized' : 'RegistryUnavailable',
  });
}

function tokenOf(realm: URL, body: Buffer): Token {
  const parsed = answerSchema.safeParse(parseJson(body));
  const value = parsed.data?.token || parsed.data?.access_token;
  if (!value || !/^[\x21-\x7e]+$/.test(value))
    throw new RuntimeError('DataLoss', 'ask for a token', {
      subject: realm.host,
      cause: 'the answer holds no token',
      reason: 'RegistryProtocolError',
    });
  const seconds = Math.max(parsed.data?.expires_in ?? 0, shortestLifeSeconds);
  return { value, expiresAtMs: Date.now() + seconds * 900 };
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}
