import type { Capability } from '../../protos/gen/cri/runtime/v1/api.js';
import { RuntimeError } from '../../runtime/errors.js';
import type { Capabilities } from '../../runtime/spec/types.js';
import { checkCount, quote, refuse } from './check.js';

/** Capabilities of capabilities(7) by their number. */
export const capabilityNames = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETPCAP',
  'CAP_LINUX_IMMUTABLE',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_BROADCAST',
  'CAP_NET_ADMIN',
  'CAP_NET_RAW',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_CHROOT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_MKNOD',
  'CAP_LEASE',
  'CAP_AUDIT_WRITE',
  'CAP_AUDIT_CONTROL',
  'CAP_SETFCAP',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
] as const;

/** What a container has unless it asks for more or less: the set Kubernetes users know from containerd and docker. */
export const defaultCapabilities: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
];

/**
 * The sets of a container. `add ALL` and privileged give every capability the daemon has itself; `drop ALL` takes all,
 * before single ones are added. Inheritable stays empty but for ambient ones, which the kernel ties to it.
 *
 * @throws InvalidArgument for an unknown name, FailedPrecondition for one that the daemon does not have
 */
export function toCapabilities(
  change: Capability | undefined,
  privileged: boolean,
  available: readonly string[],
): Capabilities {
  const add = parseNames('capabilities.add_capabilities', change?.addCapabilities ?? []);
  const drop = parseNames('capabilities.drop_capabilities', change?.dropCapabilities ?? []);
  const ambient = parseNames('capabilities.add_ambient_capabilities', change?.addAmbientCapabilities ?? []);
  if (ambient.has(all)) throw refuse('capabilities.add_ambient_capabilities', 'ALL is not possible here');
  if (privileged) return sets(available, [...ambient], available);

  const start = add.has(all) ? available : defaultCapabilities.filter((name) => available.includes(name));
  const chosen = new Set(drop.has(all) ? [] : start);
  for (const name of [...add, ...ambient]) if (name !== all) chosen.add(name);
  for (const name of drop) chosen.delete(name);
  return sets(
    [...chosen],
    [...ambient].filter((name) => !drop.has(name)),
    available,
  );
}

const all = 'ALL';

function sets(
  chosen: readonly string[],
  ambient: readonly string[],
  available: readonly string[],
): Capabilities {
  const missing = [...chosen, ...ambient].find((name) => !available.includes(name));
  if (missing !== undefined) {
    throw new RuntimeError('FailedPrecondition', `capability ${missing}`, {
      cause: 'the runtime itself does not have it',
    });
  }
  const names = capabilityNames.filter((name) => chosen.includes(name));
  return { bounding: names, effective: names, permitted: names, inheritable: ambient, ambient };
}

function parseNames(field: string, names: readonly string[]): ReadonlySet<string> {
  checkCount(field, names, 100);
  return new Set(names.map((name, index) => parseName(`${field}[${index}]`, name)));
}

function parseName(field: string, name: string): string {
  const upper = name.toUpperCase();
  if (upper === all || upper === `CAP_${all}`) return all;
  const full = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  if (!(capabilityNames as readonly string[]).includes(full))
    throw refuse(field, `${quote(name)} is not a capability`);
  return full;
}

/** The names in a mask of /proc/PID/status (`CapEff`). */
export function parseCapabilityMask(hex: string): readonly string[] {
  const mask = BigInt(`0x${hex}`);
  return capabilityNames.filter((_name, bit) => (mask >> BigInt(bit)) & 1n);
}
