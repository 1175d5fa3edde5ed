import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { parse } from 'smol-toml';
import { z } from 'zod';
import type { Logger } from '../../base/logger.js';
import { isErrno, messageOf, RuntimeError } from '../../errors.js';
import { describeSchemaError } from '../schema-error.js';
import { defaultDialTimeoutMs, defaultTls, type Endpoint, type TlsSettings } from './endpoint.js';
import { isLoopbackHost } from './loopback.js';

/**
 * Where to find a registry: containerd's `certs.d/HOST/hosts.toml`, or docker's `certs.d/HOST/*.crt, *.cert, *.key`.
 * The files are read for every pull, so that a change needs no restart.
 */

export interface HostsOptions {
  /** Directories with one directory per registry, searched in order (`registry.config_path`). */
  readonly configPath: readonly string[];
  /** Reach registries on loopback addresses without a hosts.toml by plain http at once; else by https first. */
  readonly plainHttpLoopback: boolean;
  readonly logger: Logger;
}

const headerValue = z.string().regex(/^[\t\x20-\x7e\x80-\xff]*$/, 'not allowed in a header');
const duration = z.string().transform((text, context): number => {
  const parsed = parseDuration(text);
  if (parsed !== undefined) return parsed;
  context.addIssue('expected a duration such as "10s" or "1m30s"');
  return z.NEVER;
});

const hostFields = {
  capabilities: z.array(z.enum(['pull', 'resolve', 'push', 'referrers'])).optional(),
  ca: z.union([z.string(), z.array(z.string())]).optional(),
  client: z.union([z.string(), z.array(z.union([z.string(), z.tuple([z.string(), z.string()])]))]).optional(),
  skip_verify: z.boolean().optional(),
  override_path: z.boolean().optional(),
  header: z
    .record(z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/), z.union([headerValue, z.array(headerValue)]))
    .optional(),
  dial_timeout: duration.optional(),
};

const hostSchema = z.looseObject(hostFields);
const fileSchema = z.looseObject({
  ...hostFields,
  server: z.string().optional(),
  host: z.record(z.string(), hostSchema).optional(),
});

type HostSettings = z.infer<typeof hostSchema>;

/**
 * The endpoints of a registry in the order to try them; the registry itself is the last.
 *
 * @throws FailedPrecondition naming the file and the key that is wrong.
 */
export async function findEndpoints(domain: string, options: HostsOptions): Promise<readonly Endpoint[]> {
  for (const directory of candidateDirectories(domain, options.configPath)) {
    const names = await listDirectory(directory);
    if (names === undefined) continue;
    if (names.includes('hosts.toml')) return readHostsFile(domain, directory, options);
    return [defaultEndpoint(domain, options, await readCertificates(directory, names))];
  }
  return [defaultEndpoint(domain, options, defaultTls)];
}

/** containerd's names: a host with a port may be written `HOST_PORT_`, where a file system takes no colon. */
function candidateDirectories(domain: string, configPath: readonly string[]): readonly string[] {
  const port = /^(.+):(\d+)$/.exec(domain);
  const names = [...(port === null ? [] : [`${port[1]}_${port[2]}_`]), domain, '_default'];
  return configPath.flatMap((root) => names.map((name) => path.join(root, name)));
}

async function listDirectory(directory: string): Promise<readonly string[] | undefined> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw configError(directory, error);
  }
}

function defaultEndpoint(domain: string, options: HostsOptions, tls: TlsSettings): Endpoint {
  const host = domain === 'docker.io' ? 'registry-1.docker.io' : domain;
  const by = (scheme: 'http' | 'https'): Endpoint => ({
    ...originOf(new URL(`${scheme}://${host}`)),
    prefix: '/v2',
    resolves: true,
    mirror: false,
    tls,
    headers: {},
    dialTimeoutMs: defaultDialTimeoutMs,
  });
  if (tls !== defaultTls || !isLoopbackHost(host)) return by('https');
  return options.plainHttpLoopback ? by('http') : { ...by('https'), plainHttp: by('http') };
}

async function readHostsFile(
  domain: string,
  directory: string,
  options: HostsOptions,
): Promise<readonly Endpoint[]> {
  const file = path.join(directory, 'hosts.toml');
  let document: unknown;
  try {
    document = parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw configError(file, error);
  }
  const parsed = fileSchema.safeParse(document);
  if (!parsed.success) throw configError(file, describeSchemaError(parsed.error));
  const { server, host: hosts = {}, ...own } = parsed.data;
  warnOfUnknown(file, own, options.logger);
  const endpoints: Endpoint[] = [];
  for (const [url, settings] of Object.entries(hosts)) {
    warnOfUnknown(`${file} host ${url}`, settings, options.logger);
    if (!canPull(settings)) continue;
    endpoints.push(await endpointOf({ url, settings, file, mirror: true }));
  }
  if (!canPull(own)) return endpoints;
  const url = server ?? defaultEndpoint(domain, options, defaultTls).origin;
  return [...endpoints, await endpointOf({ url, settings: own, file, mirror: false })];
}

function canPull({ capabilities }: HostSettings): boolean {
  return capabilities === undefined || capabilities.includes('pull') || capabilities.includes('resolve');
}

function warnOfUnknown(where: string, settings: HostSettings, logger: Logger): void {
  const unknown = Object.keys(settings).filter((key) => !(key in hostFields));
  if (unknown.length > 0)
    logger.warn('unknown keys in registry configuration ignored', { where, keys: unknown });
}

interface HostEntry {
  readonly url: string;
  readonly settings: HostSettings;
  readonly file: string;
  readonly mirror: boolean;
}

async function endpointOf({ url, settings, file, mirror }: HostEntry): Promise<Endpoint> {
  const parsed = parseHostUrl(url, file);
  const plainPath = parsed.pathname.replace(/\/+$/, '');
  const complete = settings.override_path === true || plainPath.endsWith('/v2');
  return {
    ...originOf(parsed),
    prefix: complete ? plainPath : `${plainPath}/v2`,
    resolves: settings.capabilities === undefined || settings.capabilities.includes('resolve'),
    mirror,
    tls: await readTls(settings, file),
    headers: Object.fromEntries(
      Object.entries(settings.header ?? {}).map(([name, value]) => [name.toLowerCase(), [value].flat()]),
    ),
    dialTimeoutMs: settings.dial_timeout ?? defaultDialTimeoutMs,
  };
}

function parseHostUrl(text: string, file: string): URL {
  const absolute = /^https?:\/\//.test(text) ? text : `https://${text}`;
  if (!URL.canParse(absolute)) throw configError(file, `${JSON.stringify(text)} is no URL of a registry`);
  const url = new URL(absolute);
  if (url.username !== '' || url.password !== '')
    throw configError(file, 'a URL must not hold credentials; use header.authorization');
  return url;
}

function originOf(url: URL): { origin: string; host: string } {
  return { origin: url.origin, host: url.host };
}

async function readTls(settings: HostSettings, file: string): Promise<TlsSettings> {
  const read = async (name: string): Promise<string> => {
    const certificate = path.resolve(path.dirname(file), name);
    try {
      return await readFile(certificate, 'utf8');
    } catch (error) {
      throw configError(file, `read ${certificate}: ${messageOf(error)}`);
    }
  };
  const ca = await Promise.all([settings.ca ?? []].flat().map(read));
  const clients = typeof settings.client === 'string' ? [settings.client] : (settings.client ?? []);
  const client = await Promise.all(
    clients.map(async (entry) => {
      const [certFile, keyFile] = typeof entry === 'string' ? [entry, ''] : entry;
      const cert = await read(certFile);
      return { cert, key: keyFile === '' ? cert : await read(keyFile) };
    }),
  );
  return { ca, client, skipVerify: settings.skip_verify ?? false };
}

/** docker's layout: every *.crt is trusted, NAME.cert and NAME.key are a client certificate. */
async function readCertificates(directory: string, names: readonly string[]): Promise<TlsSettings> {
  const read = (name: string): Promise<string> =>
    readFile(path.join(directory, name), 'utf8').catch((error: unknown) => {
      throw configError(path.join(directory, name), error);
    });
  const ca = await Promise.all(names.filter((name) => name.endsWith('.crt')).map(read));
  const client = await Promise.all(
    names
      .filter((name) => name.endsWith('.cert'))
      .map(async (name) => ({ cert: await read(name), key: await read(name.replace(/\.cert$/, '.key')) })),
  );
  return ca.length + client.length === 0 ? defaultTls : { ca, client, skipVerify: false };
}

function configError(file: string, cause: unknown): RuntimeError {
  return new RuntimeError('FailedPrecondition', 'registry configuration', {
    subject: file,
    cause,
    reason: 'RegistryConfigInvalid',
  });
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Go's durations, as far as a time-out needs them. */
function parseDuration(text: string): number | undefined {
  if (!/^(?:\d+(?:\.\d+)?(?:ms|s|m|h))+$/.test(text)) return undefined;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  return Math.round(
    parts.reduce((sum, [, number, unit]) => sum + Number(number) * (unitMs[unit ?? ''] ?? 0), 0),
  );
}
