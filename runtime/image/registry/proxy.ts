import { BlockList, isIP } from 'node:net';
import { hostNameOf, isLoopbackHost } from './loopback.js';

/**
 * Which proxy a request goes through: HTTPS_PROXY or HTTP_PROXY by its scheme, unless NO_PROXY names its host. Upper and
 * lower case names count; loopback addresses are never proxied.
 */
export function proxyFor(url: URL, environment: NodeJS.ProcessEnv): URL | undefined {
  const value =
    url.protocol === 'https:' ? read(environment, 'https_proxy') : read(environment, 'http_proxy');
  if (value === '' || isLoopbackHost(url.host) || isExcluded(url, read(environment, 'no_proxy')))
    return undefined;
  const absolute = /^[a-z0-9]+:\/\//i.test(value) ? value : `http://${value}`;
  return URL.canParse(absolute) ? new URL(absolute) : undefined;
}

function read(environment: NodeJS.ProcessEnv, name: string): string {
  return (environment[name] ?? environment[name.toUpperCase()] ?? '').trim();
}

/** NO_PROXY entries: `*`, `host`, `.domain`, `*.domain`, `host:port`, address, CIDR; a domain covers what lies below it. */
function isExcluded(url: URL, noProxy: string): boolean {
  const name = hostNameOf(url.host);
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  return noProxy
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .some((entry) => matches(entry.toLowerCase(), name, port));
}

function matches(entry: string, name: string, port: string): boolean {
  if (entry === '*') return true;
  if (entry.includes('/')) return inSubnet(entry, name);
  const wantedPort = isIP(entry) === 6 ? undefined : /:(\d+)$/.exec(entry)?.[1];
  if (wantedPort !== undefined && wantedPort !== port) return false;
  const host = isIP(entry) === 6 ? entry : hostNameOf(entry);
  const domain = host.replace(/^\*?\./, '');
  if (isIP(domain) !== 0) return domain === name;
  return (name === domain && host === domain) || name.endsWith(`.${domain}`);
}

function inSubnet(entry: string, name: string): boolean {
  const family = isIP(name);
  const [network = '', prefix = ''] = entry.split('/');
  const bits = Number(prefix);
  if (family === 0 || isIP(network) !== family || !Number.isInteger(bits) || bits > (family === 6 ? 128 : 32))
    return false;
  const subnet = new BlockList();
  const type = family === 6 ? 'ipv6' : 'ipv4';
  subnet.addSubnet(network, bits, type);
  return subnet.check(name, type);
}
