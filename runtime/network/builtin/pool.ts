import net from 'node:net';
import { RuntimeError } from '../../errors.js';

/** The addresses of one subnet. The first host address is the gateway's; the others are given out in turn, so that a freed one rests. */
export class AddressPool {
  private readonly taken = new Set<bigint>();
  private next: bigint;
  private readonly first: bigint;
  private readonly last: bigint;

  constructor(readonly subnet: Subnet) {
    const size = 1n << BigInt(subnet.bits - subnet.prefix);
    if (size < 4n)
      throw new RuntimeError('InvalidArgument', `network pool ${printSubnet(subnet)} is too small`);
    this.first = subnet.base + 2n;
    // The last address of an IPv4 subnet is its broadcast address.
    this.last = subnet.base + size - (subnet.bits === 32 ? 2n : 1n);
    this.next = this.first;
  }

  get gateway(): string {
    return printAddress(this.subnet.base + 1n, this.subnet.bits);
  }

  /** @throws ResourceExhausted */
  allocate(): string {
    const count = this.last - this.first + 1n;
    if (BigInt(this.taken.size) >= count) {
      throw new RuntimeError(
        'ResourceExhausted',
        `network pool ${printSubnet(this.subnet)} has no free address (each pod takes one: remove pods, or widen it)`,
      );
    }
    while (this.taken.has(this.next)) this.advance();
    const address = this.next;
    this.taken.add(address);
    this.advance();
    return printAddress(address, this.subnet.bits);
  }

  /** Marks an address as used that an earlier daemon gave out. Foreign addresses are none of ours. */
  take(address: string): void {
    const value = this.parse(address);
    if (value !== undefined) this.taken.add(value);
  }

  contains(address: string): boolean {
    return this.parse(address) !== undefined;
  }

  release(address: string): void {
    const value = this.parse(address);
    if (value !== undefined) this.taken.delete(value);
  }

  private advance(): void {
    this.next = this.next >= this.last ? this.first : this.next + 1n;
  }

  private parse(address: string): bigint | undefined {
    if (net.isIP(address) === 0 || (net.isIPv4(address) ? 32 : 128) !== this.subnet.bits) return undefined;
    const value = addressValue(address);
    return value >= this.first && value <= this.last ? value : undefined;
  }
}

export interface Subnet {
  readonly base: bigint;
  readonly prefix: number;
  /** 32 or 128. */
  readonly bits: number;
}

/** @throws InvalidArgument for anything but ADDRESS/PREFIX */
export function parseSubnet(text: string): Subnet {
  const [address = '', prefixText = ''] = text.trim().split('/');
  const bits = net.isIPv4(address) ? 32 : net.isIPv6(address) ? 128 : 0;
  const prefix = Number(prefixText);
  if (bits === 0 || !/^\d{1,3}$/.test(prefixText) || prefix > bits) {
    throw new RuntimeError('InvalidArgument', `${JSON.stringify(text)} is no subnet`);
  }
  const host = BigInt(bits - prefix);
  return { base: (addressValue(address) >> host) << host, prefix, bits };
}

export function printSubnet({ base, prefix, bits }: Subnet): string {
  return `${printAddress(base, bits)}/${prefix}`;
}

/** Network byte order, 4 or 16 bytes. */
export function addressBytes(address: string): Buffer {
  const length = net.isIPv4(address) ? 4 : 16;
  return Buffer.from(
    addressValue(address)
      .toString(16)
      .padStart(length * 2, '0'),
    'hex',
  );
}

function addressValue(address: string): bigint {
  if (net.isIPv4(address)) return address.split('.').reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
  return expandIpv6(address).reduce((sum, group) => (sum << 16n) | BigInt(group), 0n);
}

function expandIpv6(address: string): readonly number[] {
  const [head = '', tail] = address.split('::');
  const groups = (part: string): number[] => (part === '' ? [] : part.split(':').flatMap(group));
  const left = groups(head);
  if (tail === undefined) return left;
  const right = groups(tail);
  return [...left, ...new Array<number>(8 - left.length - right.length).fill(0), ...right];
}

/** The last group may be an IPv4 address. */
function group(text: string): number[] {
  if (!text.includes('.')) return [parseInt(text, 16)];
  const value = Number(addressValue(text));
  return [value >>> 16, value & 0xffff];
}

function printAddress(value: bigint, bits: number): string {
  if (bits === 32) return [24n, 16n, 8n, 0n].map((shift) => ((value >> shift) & 255n).toString()).join('.');
  const groups = Array.from({ length: 8 }, (_, index) =>
    ((value >> BigInt(112 - index * 16)) & 0xffffn).toString(16),
  );
  return compressIpv6(groups);
}

/** RFC 5952: the longest run of at least two zero groups becomes "::". */
function compressIpv6(groups: readonly string[]): string {
  let best = { start: -1, length: 1 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === '0') length++;
    if (length > best.length) best = { start, length };
  }
  if (best.start < 0) return groups.join(':');
  return `${groups.slice(0, best.start).join(':')}::${groups.slice(best.start + best.length).join(':')}`;
}
