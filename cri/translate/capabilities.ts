import type { Capability } from '../../protos/gen/cri/runtime/v1/api.js';
import { RuntimeError } from '../../runtime/errors.js';
import { capabilityNames, isCapability } from '../../runtime/spec/capabilities.js';
import type { Capabilities } from '../../runtime/spec/types.js';
import { checkCount, quote, refuse } from './check.js';

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
  if (!isCapability(full)) throw refuse(field, `${quote(name)} is not a capability`);
  return full;
}
