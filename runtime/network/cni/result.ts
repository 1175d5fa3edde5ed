import { z } from 'zod';
import type { NetworkResult } from '../types.js';

const strings = z.array(z.string()).nullish();

/** CNI spec 1.1, section 5 (and 0.3/0.4, whose ips also carry a version). */
const addResult = z.looseObject({
  interfaces: z
    .array(z.looseObject({ name: z.string(), mac: z.string().optional(), sandbox: z.string().optional() }))
    .nullish(),
  ips: z
    .array(
      z.looseObject({ address: z.string(), gateway: z.string().optional(), interface: z.number().nullish() }),
    )
    .nullish(),
  dns: z
    .looseObject({ nameservers: strings, search: strings, options: strings, domain: z.string().optional() })
    .nullish(),
});

/** The last plugin's result in our words: the pod's addresses are those of interfaces inside its namespace. @throws ZodError */
export function parseResult(raw: unknown): NetworkResult {
  const result = addResult.parse(raw);
  const all = result.interfaces ?? [];
  const ips = result.ips ?? [];
  const inside = all.filter((entry) => entry.sandbox !== undefined && entry.sandbox !== '');
  const own = ips.filter(
    (ip) =>
      ip.interface === undefined ||
      ip.interface === null ||
      inside.includes(all[ip.interface] ?? { name: '' }),
  );
  const { dns } = result;
  return {
    ips: own.map((ip) => ip.address.split('/')[0] ?? ip.address),
    interfaces: inside.map((entry) => {
      const index = all.indexOf(entry);
      const addresses = own.filter((ip) => (ip.interface ?? index) === index);
      const gateway = addresses.find((ip) => ip.gateway !== undefined)?.gateway;
      return {
        name: entry.name,
        mac: entry.mac ?? '',
        ips: addresses.map((ip) => ip.address),
        ...(gateway === undefined ? {} : { gateway }),
      };
    }),
    raw,
    ...(dns === undefined || dns === null
      ? {}
      : { dns: { servers: dns.nameservers ?? [], searches: dns.search ?? [], options: dns.options ?? [] } }),
  };
}
