import { NamespaceMode, type PodSandboxConfig } from '../../protos/gen/cri/runtime/v1/api.js';
import type { SandboxRequest } from '../../runtime/sandbox/types.js';
import { checkText, quote, refuse } from './check.js';
import type { PodClient } from './client-record.js';
import { podHosts, resolvConf, toDns, toHostname } from './dns.js';
import type { Handler } from './handlers.js';
import { toLogDirectory } from './log-path.js';
import { checkAnnotations, checkLabels, sandboxName, toPodMetadata } from './names.js';
import { toSandboxNamespaces } from './namespaces.js';
import { toBandwidth, toPortMappings } from './network.js';
import { type ResourceHost, toPodLimits } from './resources.js';
import { type SecurityHost, checkSelinux } from './security.js';
import { toSysctls } from './sysctls.js';
import { toUserNamespace } from './user-namespace.js';

/** What the host has in its own files; the caller reads those that {@link neededHostFiles} names. */
export interface HostFiles {
  readonly hostname: string;
  readonly hosts: string;
  readonly resolvConf: string;
}

/** Which files of the host a sandbox gets copies of. */
export function neededHostFiles(config: PodSandboxConfig | undefined): {
  readonly hosts: boolean;
  readonly resolvConf: boolean;
} {
  const network = config?.linux?.securityContext?.namespaceOptions?.network ?? NamespaceMode.POD;
  return {
    hosts: network === NamespaceMode.NODE,
    resolvConf: resolvConf(toDns(config?.dnsConfig)) === undefined,
  };
}

/**
 * Everything a RunPodSandbox asks for, checked.
 *
 * @throws InvalidArgument naming the field, Unimplemented for what is not supported
 */
export function toSandboxRequest(
  config: PodSandboxConfig | undefined,
  handler: Handler,
  host: SecurityHost & ResourceHost,
  files: HostFiles,
): SandboxRequest {
  if (config === undefined) throw refuse('config', 'is missing');
  const metadata = toPodMetadata(config.metadata);
  const { linux } = config;
  const security = linux?.securityContext;
  const namespaces = toSandboxNamespaces(security?.namespaceOptions);
  const userNamespace = toUserNamespace(
    'config.linux.security_context.namespace_options',
    security?.namespaceOptions,
  );
  checkSelinux('config.linux.security_context.selinux_options', security?.selinuxOptions, host);
  const requestedHostname = toHostname(config.hostname);
  const hostname =
    namespaces.network === 'host' || requestedHostname === '' ? files.hostname : requestedHostname;
  const dns = toDns(config.dnsConfig);
  const podLimits = toPodLimits('config.linux.', linux, host);

  const portMappings = toPortMappings(config.portMappings);
  const annotations = checkAnnotations(config.annotations);
  const client: PodClient = {
    version: 1,
    metadata,
    labels: checkLabels(config.labels),
    annotations,
    logDirectory: toLogDirectory(config.logDirectory),
    privileged: security?.privileged ?? false,
  };
  return {
    name: sandboxName(metadata),
    client,
    handler: handler.name,
    namespaces,
    ...(userNamespace === undefined ? {} : { userNamespace }),
    hostname,
    sysctls: toSysctls({ ...handler.sysctls, ...linux?.sysctls }, { namespaces, userNamespace }),
    cgroupParent: toCgroupParent(linux?.cgroupParent ?? ''),
    resources: undefined,
    ...(podLimits === undefined ? {} : { podLimits }),
    files: {
      hosts: namespaces.network === 'host' ? files.hosts : podHosts,
      resolvConf: resolvConf(dns) ?? files.resolvConf,
    },
    network:
      namespaces.network === 'host'
        ? undefined
        : {
            pod: { name: metadata.name, namespace: metadata.namespace, uid: metadata.uid },
            hostname,
            portMappings,
            dns,
            bandwidth: toBandwidth(annotations),
          },
  };
}

function toCgroupParent(parent: string): string {
  checkText('config.linux.cgroup_parent', parent, { mayBeEmpty: true });
  if (parent.split('/').some((part) => part === '..' || part === '.')) {
    throw refuse('config.linux.cgroup_parent', `must not contain "." or "..": ${quote(parent)}`);
  }
  return parent;
}
