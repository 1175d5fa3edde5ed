import { RuntimeError, messageOf } from '../../errors.js';
import type { Logger } from '../../base/logger.js';
import type { RunProgram } from '../program.js';
import type { PortMapping } from '../types.js';
import { printSubnet, type Subnet } from './pool.js';

/**
 * The nftables side of the built-in network: masquerade by subnet, host ports by a map. One table per address family, named
 * after the instance, written as a whole at start; a pod without host ports touches nothing afterwards.
 */
export interface NetworkRules {
  /** Writes the tables anew with what lives. */
  install(subnets: readonly Subnet[], ports: readonly ForwardedPort[]): Promise<void>;
  add(ports: readonly ForwardedPort[]): Promise<void>;
  /** Ports that were never added are no error: the pod's creation may have failed before. */
  remove(ports: readonly ForwardedPort[]): Promise<void>;
}

/** One host port of one pod address. */
export interface ForwardedPort {
  readonly protocol: PortMapping['protocol'];
  /** Empty: every address of the node. */
  readonly hostIp: string;
  readonly hostPort: number;
  readonly podIp: string;
  readonly podPort: number;
}

export function nftRules(options: {
  instance: string;
  bridge: string;
  run: RunProgram;
  logger: Logger;
}): NetworkRules {
  const { instance, bridge, run } = options;
  const nft = async (script: string): Promise<void> => {
    try {
      await run(
        { file: 'nft', args: ['-f', '-'], env: {}, input: script, timeoutMs: 20_000 },
        AbortSignal.timeout(20_000),
      );
    } catch (error) {
      throw new RuntimeError('Unavailable', 'nftables', { cause: messageOf(error) });
    }
  };
  return {
    install: async (subnets, ports) =>
      nft(families.map((family) => tableScript(family, { instance, bridge }, subnets, ports)).join('\n')),
    add: async (ports) => nft(elementScript('add', instance, ports)),
    // nft has no `destroy element` before 1.0.7; adding what is there is no error to it.
    remove: async (ports) =>
      nft([elementScript('add', instance, ports), elementScript('delete', instance, ports)].join('\n')),
  };
}

interface Family {
  readonly name: 'ip' | 'ip6';
  readonly addressType: string;
  readonly bits: number;
  readonly loopback: string;
}

const families: readonly Family[] = [
  { name: 'ip', addressType: 'ipv4_addr', bits: 32, loopback: '127.0.0.0/8' },
  { name: 'ip6', addressType: 'ipv6_addr', bits: 128, loopback: '::1/128' },
];

/**
 * Only packets to an address of the node itself are rewritten (fib … local): what passes through to others is none of our
 * business. A forwarded connection that comes from a pod or from loopback is masqueraded, or its answers would not come back.
 */
function tableScript(
  family: Family,
  { instance, bridge }: { readonly instance: string; readonly bridge: string },
  subnets: readonly Subnet[],
  ports: readonly ForwardedPort[],
): string {
  const own = subnets.filter((subnet) => subnet.bits === family.bits).map(printSubnet);
  const table = `${family.name} podwright-${instance}`;
  if (own.length === 0) return `add table ${table}\ndelete table ${table}`;
  const pool = `{ ${own.join(', ')} }`;
  const { name, addressType, loopback } = family;
  return `add table ${table}
delete table ${table}
table ${table} {
  map ports {
    type inet_proto . inet_service : ${addressType} . inet_service
  }
  map address-ports {
    type ${addressType} . inet_proto . inet_service : ${addressType} . inet_service
  }
  chain forward-ports {
    dnat ${name} to ${name} daddr . meta l4proto . th dport map @address-ports
    dnat ${name} to meta l4proto . th dport map @ports
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump forward-ports
  }
  chain output {
    type nat hook output priority -100; policy accept;
    fib daddr type local jump forward-ports
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ${name} saddr ${pool} ${name} daddr != ${pool} masquerade
    oifname "${bridge}" ct status dnat ${name} saddr ${pool} masquerade
    oifname "${bridge}" ct status dnat ${name} saddr ${loopback} masquerade
  }
}
${elementScript('add', instance, ports, family)}`;
}

function elementScript(
  verb: 'add' | 'delete',
  instance: string,
  ports: readonly ForwardedPort[],
  only?: Family,
): string {
  return ports
    .flatMap((port) => {
      const family = port.podIp.includes(':') ? families[1] : families[0];
      if (family === undefined || (only !== undefined && only !== family)) return [];
      const key = `${port.protocol} . ${port.hostPort}`;
      const value = verb === 'add' ? ` : ${port.podIp} . ${port.podPort}` : '';
      const table = `${family.name} podwright-${instance}`;
      return port.hostIp === ''
        ? [`${verb} element ${table} ports { ${key}${value} }`]
        : [`${verb} element ${table} address-ports { ${port.hostIp} . ${key}${value} }`];
    })
    .join('\n');
}
