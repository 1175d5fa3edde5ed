import net from 'node:net';
import { type PortMapping as CriPortMapping, Protocol } from '../../protos/gen/cri/runtime/v1/api.js';
import type { NetworkRequest, PortMapping } from '../../runtime/network/types.js';
import { checkCount, quote, refuse, unknownEnum } from './check.js';

const maxPort = 65_535;

/** Ports of the node that lead into the pod; a mapping without host port asks for nothing and is left out. */
export function toPortMappings(mappings: readonly CriPortMapping[]): readonly PortMapping[] {
  checkCount('config.port_mappings', mappings, 10_000);
  return mappings.flatMap((mapping, index) => {
    const field = `config.port_mappings[${index}]`;
    const { containerPort, hostPort, hostIp } = mapping;
    if (hostPort === 0) return [];
    if (hostPort < 0 || hostPort > maxPort) throw refuse(`${field}.host_port`, `${hostPort} is not a port`);
    if (containerPort < 1 || containerPort > maxPort) {
      throw refuse(`${field}.container_port`, `${containerPort} is not a port`);
    }
    if (hostIp !== '' && net.isIP(hostIp) === 0)
      throw refuse(`${field}.host_ip`, `${quote(hostIp)} is not an address`);
    return [{ protocol: toProtocol(`${field}.protocol`, mapping.protocol), containerPort, hostPort, hostIp }];
  });
}

function toProtocol(field: string, protocol: Protocol): PortMapping['protocol'] {
  switch (protocol) {
    case Protocol.TCP:
      return 'tcp';
    case Protocol.UDP:
      return 'udp';
    case Protocol.SCTP:
      return 'sctp';
    default:
      throw unknownEnum(field, protocol);
  }
}

/** Limits of the pod's traffic, from the annotations Kubernetes documents for them. */
export function toBandwidth(annotations: Readonly<Record<string, string>>): NetworkRequest['bandwidth'] {
  const ingressRate = toRate(annotations, 'kubernetes.io/ingress-bandwidth');
  const egressRate = toRate(annotations, 'kubernetes.io/egress-bandwidth');
  return {
    ...(ingressRate === undefined ? {} : { ingressRate }),
    ...(egressRate === undefined ? {} : { egressRate }),
  };
}

const factors: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
};

/** A quantity in bits per second, between 1 k and 1 P as Kubernetes allows. */
function toRate(annotations: Readonly<Record<string, string>>, key: string): number | undefined {
  const text = Object.hasOwn(annotations, key) ? annotations[key] : undefined;
  if (text === undefined) return undefined;
  const match = /^([0-9]{1,15}(?:\.[0-9]{1,9})?)([kMGTP]|[KMGTP]i)?$/.exec(text);
  const rate =
    match === null ? Number.NaN : Math.ceil(Number(match[1]) * (factors[match[2] ?? ''] ?? Number.NaN));
  if (!(rate >= 1e3 && rate <= 1e15)) {
    throw refuse(`config.annotations[${quote(key)}]`, `${quote(text)} is not a rate between 1k and 1P`);
  }
  return rate;
}

/** The pod ranges of the node, one per address family, separated by commas; empty if there are none. */
export function toPodCidrs(text: string): string {
  if (text === '') return '';
  const ranges = text.split(',').map((range) => range.trim());
  if (ranges.length > 2) throw refuse('runtime_config.network_config.pod_cidr', 'must be at most two ranges');
  for (const range of ranges) {
    const [address = '', prefix = '', ...rest] = range.split('/');
    const family = net.isIP(address);
    const valid = /^(0|[1-9][0-9]{0,2})$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128);
    if (family === 0 || !valid || rest.length > 0) {
      throw refuse('runtime_config.network_config.pod_cidr', `${quote(range)} is not an address range`);
    }
  }
  return ranges.join(',');
}
