import { createHash, randomBytes } from 'node:crypto';
import { RuntimeError } from '../../errors.js';
import type { RegistryAuth } from '../types.js';
import type { Endpoint } from './endpoint.js';

/** What we may show an endpoint, after the AuthConfig was reduced to its one meaning. */
export type Credentials =
  | { readonly kind: 'none' }
  | { readonly kind: 'basic'; readonly username: string; readonly password: string }
  | { readonly kind: 'identity'; readonly token: string }
  | { readonly kind: 'bearer'; readonly token: string };

const none: Credentials = { kind: 'none' };

/** docker's names for its own registry, all of which mean docker.io in an AuthConfig. */
const hubHosts = ['docker.io', 'index.docker.io', 'registry-1.docker.io'];

/**
 * The credentials that an endpoint may see. With a server address they go to that host only, be it the registry or a
 * mirror; without one to the registry itself, never to a mirror.
 *
 * @throws InvalidArgument if they are malformed; the text never holds them.
 */
export function credentialsFor(
  auth: RegistryAuth | undefined,
  endpoint: Endpoint,
  domain: string,
): Credentials {
  if (auth === undefined || !mayReceive(auth, endpoint, domain)) return none;
  if (auth.registryToken) return { kind: 'bearer', token: checked(auth.registryToken, 'registry token') };
  if (auth.identityToken) return { kind: 'identity', token: checked(auth.identityToken, 'identity token') };
  if (auth.username) return { kind: 'basic', username: auth.username, password: auth.password ?? '' };
  return auth.auth ? decodeBasic(auth.auth) : none;
}

function mayReceive(auth: RegistryAuth, endpoint: Endpoint, domain: string): boolean {
  if (!auth.serverAddress) return !endpoint.mirror;
  const host = addressHost(auth.serverAddress);
  if (host === endpoint.host) return true;
  if (endpoint.mirror) return false;
  return host === domain.toLowerCase() || (domain === 'docker.io' && hubHosts.includes(host));
}

/** The host in `quay.io`, `https://index.docker.io/v1/`, `127.0.0.1:5000`; no other text equals a host. */
function addressHost(address: string): string {
  const absolute = /^https?:\/\//.test(address) ? address : `https://${address}`;
  return URL.canParse(absolute) ? new URL(absolute).host : address;
}

/** A token becomes a header: only what a header takes. */
function checked(token: string, what: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw invalidAuth(`the ${what} holds characters that no token has`);
}

function decodeBasic(encoded: string): Credentials {
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 0) throw invalidAuth('auth is not base64 of user:password');
  // docker pads short passwords with NUL.
  return {
    kind: 'basic',
    username: text.slice(0, colon),
    password: text.slice(colon + 1).replace(/\0+$/, ''),
  };
}

function invalidAuth(cause: string): RuntimeError {
  return new RuntimeError('InvalidArgument', 'registry credentials', { cause, reason: 'InvalidCredentials' });
}

/** Whether credentials came with the request that this registry did not get to see. */
export function withheld(auth: RegistryAuth | undefined, credentials: Credentials): boolean {
  return credentials.kind === 'none' && !!auth?.serverAddress && hasSecret(auth);
}

function hasSecret(auth: RegistryAuth): boolean {
  return !!(auth.username || auth.auth || auth.identityToken || auth.registryToken);
}

const salt = randomBytes(32);

/** Tells credentials apart without holding them: for keys of caches and of running pulls. Valid in this process only. */
export function fingerprint(secret: unknown): string {
  return createHash('sha256')
    .update(salt)
    .update(JSON.stringify(secret) ?? '')
    .digest('hex');
}
