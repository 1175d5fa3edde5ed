import type { SandboxRequest } from '../../runtime/sandbox/types.js';
import { checkCount, checkText, quote, refuse } from './check.js';

/** Names below which every file belongs to the ipc namespace (kernel doc: sysctl/kernel.rst, sysctl/fs.rst). */
const ipcNames: ReadonlySet<string> = new Set([
  'kernel.msgmax',
  'kernel.msgmnb',
  'kernel.msgmni',
  'kernel.auto_msgmni',
  'kernel.sem',
  'kernel.shmall',
  'kernel.shmmax',
  'kernel.shmmni',
  'kernel.shm_rmid_forced',
]);

/** So that a container's root needs no capability for ports below 1024 and for ping. The groups must be mapped ones. */
function podNetworkDefaults(
  userNamespace: SandboxRequest['userNamespace'],
): Readonly<Record<string, string>> {
  const groups = userNamespace?.gidMappings[0]?.size ?? 2 ** 31;
  return {
    'net.ipv4.ip_unprivileged_port_start': '0',
    'net.ipv4.ping_group_range': `0 ${Math.min(groups, 2 ** 31) - 1}`,
  };
}

/**
 * Kernel settings of a sandbox: only those a namespace of its own has. What would reach the host is refused.
 *
 * @throws InvalidArgument
 */
export function toSysctls(
  sysctls: Readonly<Record<string, string>>,
  { namespaces, userNamespace }: Pick<SandboxRequest, 'namespaces' | 'userNamespace'>,
): Readonly<Record<string, string>> {
  const field = 'config.linux.sysctls';
  checkCount(field, Object.keys(sysctls), 200);
  const entries = Object.entries(sysctls).map(([name, value]) => {
    const entry = `${field}[${quote(name)}]`;
    checkText(entry, value, { maxBytes: 1000, mayBeEmpty: true });
    const dotted = toDotted(entry, name);
    checkNamespace(entry, dotted, namespaces);
    return [dotted, value] as const;
  });
  const defaults = namespaces.network === 'pod' ? podNetworkDefaults(userNamespace) : {};
  return { ...defaults, ...Object.fromEntries(entries) };
}

/** Both spellings of sysctl(8), `a.b` and `a/b`, become the first; a dot within a part (net/ipv4/conf/eth0.1) stays a slash form's. */
function toDotted(field: string, name: string): string {
  checkText(field, name, { maxBytes: 256 });
  if (!/^[a-zA-Z0-9_-]+([./][a-zA-Z0-9_-]+)+$/.test(name))
    throw refuse(field, 'is not the name of a kernel setting');
  return name.replaceAll('/', '.');
}

function checkNamespace(field: string, name: string, { network, ipc }: SandboxRequest['namespaces']): void {
  if (name.startsWith('net.')) {
    if (network === 'host') throw refuse(field, "would change the host: the pod uses the host's network");
  } else if (ipcNames.has(name) || name.startsWith('fs.mqueue.')) {
    if (ipc === 'host') throw refuse(field, "would change the host: the pod uses the host's ipc namespace");
  } else {
    throw refuse(field, 'belongs to no namespace of the pod: it would change the host');
  }
}
