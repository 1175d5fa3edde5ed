import { createHash } from 'node:crypto';
import { fileBatch } from '../../../native/index.js';
import type { Logger } from '../../base/logger.js';
import { RuntimeError, messageOf } from '../../errors.js';
import type { Plan, PlanStep } from '../../plan/steps.js';
import { runProgram } from '../program.js';
import type { NetworkAttachment, NetworkRequest, NetworkResult, PreparedNetwork } from '../types.js';
import { AddressPool, addressBytes, parseSubnet, printSubnet } from './pool.js';
import { nftRules, type ForwardedPort, type NetworkRules } from './rules.js';

export interface BuiltinOptions {
  readonly instance: string;
  readonly bridge: string;
  /** One IPv4 subnet, one IPv6 subnet, or both. */
  readonly pools: readonly string[];
  /** 0: the kernel's. */
  readonly mtu: number;
  readonly logger: Logger;
  /** Runs a plan of launcher steps in the host's namespaces. */
  readonly runPlan: (plan: Plan) => Promise<void>;
}

interface BuiltinData {
  readonly ips: readonly string[];
  readonly ports: readonly ForwardedPort[];
}

/**
 * A bridge with an address pool, masqueraded. A pod's end is a veth made by its own launch plan: no process, no file, no
 * state but what the sandbox' record holds.
 */
export class BuiltinNetwork {
  private pools: readonly AddressPool[];
  private readonly rules: NetworkRules;
  /** Former pools, of which pods still have addresses. */
  private retired: readonly AddressPool[] = [];
  private readonly ports = new Map<string, string>();
  /** What pods have, by sandbox. */
  private readonly held = new Map<string, BuiltinData>();
  private ready: Promise<void> | undefined;

  constructor(private readonly options: BuiltinOptions) {
    this.pools = options.pools.map((pool) => new AddressPool(parseSubnet(pool)));
    this.rules = nftRules({ ...options, run: runProgram });
  }

  /** Makes bridge and rules on first use, and again after a failure. @throws Unavailable */
  async prepareHost(): Promise<void> {
    this.ready ??= this.makeHost().catch((error: unknown) => {
      this.ready = undefined;
      throw error;
    });
    await this.ready;
  }

  async prepare(request: NetworkRequest): Promise<PreparedNetwork> {
    await this.prepareHost();
    const ips: string[] = [];
    const reserved: string[] = [];
    try {
      for (const pool of this.pools) ips.push(pool.allocate());
      const ports = forwardedPorts(request, ips);
      for (const port of ports) reserved.push(this.reservePort(port, request.sandboxId));
      this.held.set(request.sandboxId, { ips, ports });
      return this.prepared(request, ips, ports);
    } catch (error) {
      for (const ip of ips) this.releaseAddress(ip);
      for (const key of reserved) this.ports.delete(key);
      throw error;
    }
  }

  /** The veth goes with the network namespace; what is ours to give back is the address and the ports. */
  async detach(attachment: NetworkAttachment): Promise<void> {
    const { ips, ports } = attachment.data as BuiltinData;
    const held = ports.filter((port) => this.ports.get(portKey(port)) === attachment.sandboxId);
    if (held.length > 0) {
      await this.prepareHost();
      await this.rules.remove(held);
      for (const port of held) this.ports.delete(portKey(port));
    }
    for (const ip of ips) this.releaseAddress(ip);
    this.held.delete(attachment.sandboxId);
  }

  /** Takes what living sandboxes hold; the rules are written with it at first use. */
  adopt(living: readonly NetworkAttachment[]): void {
    for (const attachment of living) {
      const data = attachment.data as BuiltinData;
      this.held.set(attachment.sandboxId, data);
      for (const ip of data.ips) for (const pool of this.pools) pool.take(ip);
      for (const port of data.ports) this.ports.set(portKey(port), attachment.sandboxId);
    }
  }

  /** The pods that are there keep their addresses and ports, whether the new range holds them or not. */
  async setPodCidr(cidrs: readonly string[]): Promise<void> {
    const pools = cidrs.map((cidr) => new AddressPool(parseSubnet(cidr)));
    const names = (list: readonly AddressPool[]): string =>
      list.map(({ subnet }) => printSubnet(subnet)).join();
    if (names(pools) === names(this.pools)) return;
    const ips = [...this.held.values()].flatMap((data) => data.ips);
    for (const ip of ips) for (const pool of pools) pool.take(ip);
    this.retired = [...this.retired, ...this.pools].filter(
      (pool) =>
        !names(pools).split(',').includes(printSubnet(pool.subnet)) && ips.some((ip) => pool.contains(ip)),
    );
    this.pools = pools;
    this.ready = undefined;
    await this.prepareHost();
  }

  private prepared(
    request: NetworkRequest,
    ips: readonly string[],
    ports: readonly ForwardedPort[],
  ): PreparedNetwork {
    const mac = macOf(ips[0] ?? request.sandboxId);
    const data: BuiltinData = { ips, ports };
    const result: NetworkResult = {
      ips,
      interfaces: [
        {
          name: 'eth0',
          mac: [...mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':'),
          ips: ips.map((ip, index) => `${ip}/${this.pools[index]?.subnet.prefix ?? 32}`),
        },
      ],
    };
    return {
      attachment: { kind: 'builtin', sandboxId: request.sandboxId, netnsPath: request.netnsPath, data },
      parentSteps: this.hostSteps(request.sandboxId, mac),
      childSteps: this.podSteps(ips),
      attach: async () => {
        if (ports.length > 0) await this.rules.add(ports);
        return result;
      },
    };
  }

  private hostSteps(sandboxId: string, peerMac: Buffer): readonly PlanStep[] {
    const host = `pw${this.options.instance.slice(0, 4)}${sandboxId.slice(0, 9)}`;
    return [
      {
        kind: 'link-veth',
        about: 'make the veth pair of the pod',
        name: host,
        peer: 'eth0',
        mac: Buffer.alloc(0),
        peerMac,
        mtu: this.options.mtu,
      },
      {
        kind: 'link-set',
        about: `join bridge ${this.options.bridge}`,
        name: host,
        state: 'up',
        master: this.options.bridge,
        hairpin: true,
      },
    ];
  }

  private podSteps(ips: readonly string[]): readonly PlanStep[] {
    return [
      { kind: 'link-set', name: 'eth0', state: 'up', master: '', hairpin: false },
      ...ips.flatMap((ip, index): PlanStep[] => {
        const pool = this.pools[index];
        if (pool === undefined) return [];
        return [
          { kind: 'address', link: 'eth0', address: addressBytes(ip), prefixLength: pool.subnet.prefix },
          {
            kind: 'route',
            link: 'eth0',
            destination: Buffer.alloc(0),
            prefixLength: 0,
            gateway: addressBytes(pool.gateway),
          },
        ];
      }),
    ];
  }

  private reservePort(port: ForwardedPort, sandboxId: string): string {
    const key = portKey(port);
    const holder = conflictingKeys(port, this.ports.keys()).map((taken) => this.ports.get(taken))[0];
    if (holder !== undefined) {
      throw new RuntimeError(
        'AlreadyExists',
        `host port ${port.hostPort}/${port.protocol} is taken by pod sandbox ${holder}`,
      );
    }
    this.ports.set(key, sandboxId);
    return key;
  }

  private releaseAddress(ip: string): void {
    for (const pool of [...this.pools, ...this.retired]) pool.release(ip);
  }

  private async makeHost(): Promise<void> {
    const { bridge, mtu, logger } = this.options;
    const subnets = [...this.pools, ...this.retired].map((pool) => pool.subnet);
    const ports = [...this.held.values()].flatMap((data) => data.ports);
    try {
      await this.options.runPlan({
        parent: [
          { kind: 'link-bridge', about: `make bridge ${bridge}`, name: bridge, mac: macOf(bridge), mtu },
          { kind: 'link-set', name: bridge, state: 'up', master: '', hairpin: false },
          ...this.pools.map((pool): PlanStep => {
            return {
              kind: 'address',
              about: `give bridge ${bridge} its address`,
              link: bridge,
              address: addressBytes(pool.gateway),
              prefixLength: pool.subnet.prefix,
            };
          }),
        ],
        child: [],
      });
      await fileBatch(
        hostSysctls(
          bridge,
          subnets.some((subnet) => subnet.bits === 128),
        ),
      );
      await this.rules.install(subnets, ports);
      logger.info('built-in network ready', { bridge, pools: this.pools.map((pool) => pool.gateway) });
    } catch (error) {
      throw new RuntimeError('Unavailable', 'set up the built-in network', { cause: messageOf(error) });
    }
  }
}

/** Forwarding on; a published port answers on loopback too; no router advertisement of a pod is believed (CVE-2020-10749). */
function hostSysctls(bridge: string, ipv6: boolean) {
  const write = (key: string, data: string) => ({ op: 'write', path: `/proc/sys/net/${key}`, data }) as const;
  return [
    write('ipv4/ip_forward', '1'),
    write(`ipv4/conf/${bridge}/route_localnet`, '1'),
    ...(ipv6 ? [write(`ipv6/conf/${bridge}/accept_ra`, '0'), write('ipv6/conf/all/forwarding', '1')] : []),
  ];
}

/** Locally administered, the same for the same address: a neighbour's cache entry stays true when an address is given out again. */
function macOf(name: string): Buffer {
  const digest = createHash('sha256').update(name).digest();
  return Buffer.from([0x0a, ...digest.subarray(0, 5)]);
}

/** Port, protocol and family first, the host's address last: an empty one stands for all of them. */
function portKey({ protocol, hostIp, hostPort, podIp }: ForwardedPort): string {
  return `${hostPort}/${protocol}/${podIp.includes(':') ? 6 : 4}/${hostIp}`;
}

function conflictingKeys(port: ForwardedPort, taken: Iterable<string>): readonly string[] {
  const every = portKey({ ...port, hostIp: '' });
  const own = portKey(port);
  return [...taken].filter((key) => key === own || key === every || (own === every && key.startsWith(every)));
}

/** Every mapping to every pod address of a family that its host address fits. */
function forwardedPorts(request: NetworkRequest, ips: readonly string[]): readonly ForwardedPort[] {
  return request.portMappings
    .filter((mapping) => mapping.hostPort > 0)
    .flatMap((mapping) => {
      const any = mapping.hostIp === '' || mapping.hostIp === '0.0.0.0' || mapping.hostIp === '::';
      return ips
        .filter((ip) => mapping.hostIp === '' || ip.includes(':') === mapping.hostIp.includes(':'))
        .map((podIp) => ({
          protocol: mapping.protocol,
          hostIp: any ? '' : mapping.hostIp,
          hostPort: mapping.hostPort,
          podIp,
          podPort: mapping.containerPort,
        }));
    });
}
