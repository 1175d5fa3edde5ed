import { parseDigest, type Digest } from '../base/digest.js';
import { RuntimeError } from '../errors.js';

/** An image reference in full: `docker.io/library/busybox:latest`. Exactly one of tag and digest is set. */
export interface Reference {
  /** Registry host with its port, `docker.io` for Docker Hub. */
  readonly domain: string;
  /** Path in the registry: `library/busybox`. */
  readonly path: string;
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
}

const hubDomain = 'docker.io';
const longestName = 255;

const domainPattern =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(?::[0-9]{1,5})?$/;
const componentPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const tagPattern = /^\w[\w.-]{0,127}$/;

/**
 * Reads a reference and completes it the way docker does: no registry means Docker Hub, a single name there means
 * `library/`, no tag means `latest`. With a tag and a digest the digest counts.
 *
 * @throws InvalidArgument
 */
export function parseReference(text: string): Reference {
  const refuse = (cause: string): RuntimeError =>
    new RuntimeError('InvalidArgument', 'image reference', {
      subject: quoted(text),
      cause,
      reason: 'InvalidImageName',
    });
  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : parseDigest(text.slice(at + 1));
  if (at >= 0 && digest === undefined) throw refuse('the digest is not sha256 or sha512 with all its digits');
  const { name, tag } = splitTag(at < 0 ? text : text.slice(0, at));
  if (tag !== undefined && !tagPattern.test(tag)) throw refuse('the tag is malformed');
  const { domain, path } = splitDomain(name);
  if (!isDomain(domain)) throw refuse('the registry is malformed');
  if (path === '' || !path.split('/').every((component) => componentPattern.test(component)))
    throw refuse('the repository name must be lower case letters, digits and separators');
  if (domain.length + path.length + 1 > longestName) throw refuse(`the name is longer than ${longestName}`);
  return { domain, path, tag: digest === undefined ? (tag ?? 'latest') : undefined, digest };
}

function splitTag(text: string): { name: string; tag: string | undefined } {
  const colon = text.indexOf(':', text.lastIndexOf('/') + 1);
  return colon < 0
    ? { name: text, tag: undefined }
    : { name: text.slice(0, colon), tag: text.slice(colon + 1) };
}

function splitDomain(name: string): { domain: string; path: string } {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const named = /[.:[]/.test(first) || first === 'localhost' || first !== first.toLowerCase();
  if (!named) return { domain: hubDomain, path: hubPath(name) };
  const rest = name.slice(slash + 1);
  if (first === hubDomain || first === 'index.docker.io') return { domain: hubDomain, path: hubPath(rest) };
  return { domain: first, path: rest };
}

function hubPath(path: string): string {
  return path === '' || path.includes('/') ? path : `library/${path}`;
}

function isDomain(domain: string): boolean {
  if (!domainPattern.test(domain)) return false;
  const port = /:([0-9]+)$/.exec(domain)?.[1];
  return port === undefined || (Number(port) > 0 && Number(port) <= 65535) || domain.endsWith(']');
}

/** `docker.io/library/busybox` */
export function repositoryOf({ domain, path }: Reference): string {
  return `${domain}/${path}`;
}

/** `docker.io/library/busybox:latest` or `docker.io/library/busybox@sha256:…` */
export function formatReference(reference: Reference): string {
  const { tag, digest } = reference;
  return digest === undefined
    ? `${repositoryOf(reference)}:${tag ?? ''}`
    : `${repositoryOf(reference)}@${digest}`;
}

/** Outside text for a message: cut and without control characters. */
export function quoted(text: string): string {
  const cut = text.length > 300 ? `${text.slice(0, 300)}…` : text;
  return JSON.stringify(cut);
}
