import net from 'node:net';
import type { DNSConfig } from '../../protos/gen/cri/runtime/v1/api.js';
import { checkCount, checkText, quote, refuse } from './check.js';

export interface Dns {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

/** @throws InvalidArgument for what would not stay one word of resolv.conf(5) */
export function toDns(config: DNSConfig | undefined): Dns {
  const field = 'config.dns_config';
  const { servers = [], searches = [], options = [] } = config ?? {};
  checkCount(`${field}.servers`, servers, 100);
  checkCount(`${field}.searches`, searches, 100);
  checkCount(`${field}.options`, options, 100);
  servers.forEach((server, index) => {
    if (net.isIP(server) === 0)
      throw refuse(`${field}.servers[${index}]`, `${quote(server)} is not an address`);
  });
  searches.forEach((search, index) => checkWord(`${field}.searches[${index}]`, search));
  options.forEach((option, index) => checkWord(`${field}.options[${index}]`, option));
  return { servers, searches, options };
}

function checkWord(field: string, word: string): void {
  checkText(field, word, { maxBytes: 255 });
  if (!/^[!-~]+$/.test(word) || /^[#;]/.test(word)) throw refuse(field, `${quote(word)} is not one word`);
}

/** Content of resolv.conf; undefined if nothing is asked for and the host's is to be used. */
export function resolvConf({ servers, searches, options }: Dns): string | undefined {
  if (servers.length + searches.length + options.length === 0) return undefined;
  const lines = [
    ...(searches.length === 0 ? [] : [`search ${searches.join(' ')}`]),
    ...servers.map((server) => `nameserver ${server}`),
    ...(options.length === 0 ? [] : [`options ${options.join(' ')}`]),
  ];
  return `${lines.join('\n')}\n`;
}

/** Content of /etc/hosts of a pod with a network of its own. */
export const podHosts = [
  '127.0.0.1\tlocalhost',
  '::1\tlocalhost ip6-localhost ip6-loopback',
  'fe00::\tip6-localnet',
  'fe00::\tip6-mcastprefix',
  'fe00::1\tip6-allnodes',
  'fe00::2\tip6-allrouters',
  '',
].join('\n');

/** The pod's host name: at most what the kernel takes (man 2 sethostname). A fully qualified one may end in a dot. */
export function toHostname(hostname: string): string {
  const field = 'config.hostname';
  checkText(field, hostname, { maxBytes: 64, mayBeEmpty: true });
  if (hostname !== '' && !/^[a-zA-Z0-9]([a-zA-Z0-9._-]*[a-zA-Z0-9])?\.?$/.test(hostname)) {
    throw refuse(field, `${quote(hostname)} is not a host name`);
  }
  return hostname;
}
