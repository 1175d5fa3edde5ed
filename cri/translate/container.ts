import type { ContainerConfig, LinuxContainerSecurityContext } from '../../protos/gen/cri/runtime/v1/api.js';
import { SupplementalGroupsPolicy } from '../../protos/gen/cri/runtime/v1/api.js';
import type { ContainerRequest } from '../../runtime/container/types.js';
import type { Image } from '../../runtime/image/types.js';
import type { Sandbox } from '../../runtime/sandbox/types.js';
import type { Namespace, Resources, Seccomp, Spec } from '../../runtime/spec/types.js';
import { toCapabilities } from './capabilities.js';
import { toCdiNames } from './cdi.js';
import { checkCount, checkText, refuse, unknownEnum } from './check.js';
import { type ContainerClient, type MountClient, type PodClient, podClientOf } from './client-record.js';
import { type DeviceAccess, type DeviceWish, defaultDeviceRules, toDeviceWishes } from './devices.js';
import { type Handler, withCgroupAccess, withOwner } from './handlers.js';
import { toLogPath } from './log-path.js';
import { type VolumeMount, rootfsPropagation, toImageVolumes, toMounts, toVolumeMounts } from './mounts.js';
import { checkAnnotations, checkLabels, containerName, toContainerMetadata } from './names.js';
import { toContainerNamespaces } from './namespaces.js';
import { toArgs, toCwd, toEnv } from './process.js';
import { type ResourceHost, toOomScoreAdj, toResources } from './resources.js';
import {
  type ApparmorChoice,
  type SeccompChoice,
  type SecurityHost,
  checkSelinux,
  noSelinux,
  toApparmorChoice,
  toGuardedPaths,
  toSeccompChoice,
} from './security.js';
import { toStopSignal } from './signals.js';
import { checkMappedUser } from './user-namespace.js';
import type { ResolvedUser, UserRequest } from './user.js';

/** What the daemon and its host can do; found out once at start. */
export interface ContainerHost extends SecurityHost, ResourceHost {
  /** Capabilities of the daemon itself. */
  readonly capabilities: readonly string[];
  /** Lowest oom_score_adj that the daemon may give to a process. */
  readonly minOomScoreAdj: number;
  /** Whether containers get a cgroup namespace of their own. */
  readonly cgroupNamespace: boolean;
}

/** What a container's configuration says, checked, before anything of the host was looked at. */
export interface ContainerWishes {
  readonly image: string;
  readonly privileged: boolean;
  readonly user: UserRequest;
  readonly volumes: readonly VolumeMount[];
  readonly devices: readonly DeviceWish[];
  /** Qualified names. */
  readonly cdiDevices: readonly string[];
  readonly seccomp: SeccompChoice;
  readonly apparmor: ApparmorChoice;
}

/** What the caller found out about the host and the image for the wishes. */
export interface ContainerFindings {
  /** The sandbox'. */
  readonly handler: Handler;
  readonly image: Image;
  readonly user: ResolvedUser;
  /** The wishes' volumes, their sources resolved. */
  readonly volumes: readonly VolumeMount[];
  readonly devices: DeviceAccess;
  readonly seccomp: Seccomp | undefined;
  /** Name of the AppArmor profile; undefined: unconfined. */
  readonly apparmorProfile: string | undefined;
}

const securityField = 'config.linux.security_context';

/**
 * First half of CreateContainer: what can be said of the request alone.
 *
 * @throws InvalidArgument naming the field, Unimplemented for what is not supported
 */
export function toContainerWishes(
  config: ContainerConfig,
  pod: PodClient,
  host: ContainerHost,
  handler: Handler,
): ContainerWishes {
  const security = config.linux?.securityContext;
  if (config.image === undefined) throw refuse('config.image', 'is missing');
  checkSelinux(`${securityField}.selinux_options`, security?.selinuxOptions, host);
  config.mounts.forEach((mount, index) => {
    // Without SELinux no file has a label: a client that always asks for the right one has it.
    if (mount.selinuxRelabel && host.selinux) throw noSelinux(`config.mounts[${index}].selinux_relabel`);
  });
  const privileged = security?.privileged ?? false;
  if (privileged && !pod.privileged)
    throw refuse(`${securityField}.privileged`, 'needs a privileged sandbox');
  return {
    image: checkText('config.image.image', config.image.image),
    privileged,
    user: toUserRequest(security),
    volumes: toVolumeMounts(config.mounts),
    devices: toDeviceWishes(config.devices),
    cdiDevices: toCdiNames(config, { allowsAnnotations: handler.cdiAnnotations }),
    seccomp: asksForSeccomp(security) || privileged ? toSeccompChoice(security) : handler.unsetSeccomp,
    apparmor: toApparmorChoice(security, host),
  };
}

function asksForSeccomp(security: LinuxContainerSecurityContext | undefined): boolean {
  return security?.seccomp !== undefined || (security?.seccompProfilePath ?? '') !== '';
}

function toUserRequest(security: LinuxContainerSecurityContext | undefined): UserRequest {
  const groups = security?.supplementalGroups ?? [];
  checkCount(`${securityField}.supplemental_groups`, groups, 65_536);
  return {
    uid: security?.runAsUser?.value,
    username: checkText(`${securityField}.run_as_username`, security?.runAsUsername ?? '', {
      mayBeEmpty: true,
    }),
    gid: security?.runAsGroup?.value,
    supplementalGroups: groups,
    groupsPolicy: toGroupsPolicy(security?.supplementalGroupsPolicy ?? SupplementalGroupsPolicy.Merge),
  };
}

function toGroupsPolicy(policy: SupplementalGroupsPolicy): UserRequest['groupsPolicy'] {
  switch (policy) {
    case SupplementalGroupsPolicy.Merge:
      return 'merge';
    case SupplementalGroupsPolicy.Strict:
      return 'strict';
    default:
      throw unknownEnum(`${securityField}.supplemental_groups_policy`, policy);
  }
}

/**
 * Second half of CreateContainer: the request to the runtime, OCI spec included.
 *
 * @throws InvalidArgument naming the field, FailedPrecondition for what the host cannot do
 */
export function toContainerRequest(
  config: ContainerConfig,
  sandbox: Sandbox,
  host: ContainerHost,
  findings: ContainerFindings,
): ContainerRequest {
  const pod = podClientOf(sandbox);
  const metadata = toContainerMetadata(config.metadata);
  const security = config.linux?.securityContext;
  const privileged = security?.privileged ?? false;
  const { userNamespace, hostname } = sandbox.request;
  const namespaces = toContainerNamespaces(security?.namespaceOptions, sandbox.request.namespaces, {
    privileged,
    ownCgroupNamespace: host.cgroupNamespace,
    userNamespace,
  });
  const { image, user } = findings;
  checkMappedUser(user, userNamespace);
  return {
    sandboxId: sandbox.id,
    name: containerName(metadata, pod.metadata),
    client: toContainerClient(config, metadata, findings),
    spec: toSpec(config, host, findings, {
      hostname,
      namespaces: namespaces.own,
      hostSysfs: userNamespace !== undefined && sandbox.request.namespaces.network === 'host',
    }),
    sandboxNamespaces: namespaces.ofSandbox,
    pidTarget: namespaces.pidTarget,
    image: { id: image.id, chainId: topChainId(image) },
    stdio: { tty: config.tty, stdin: config.stdin, stdinOnce: config.stdin && config.stdinOnce },
    log: toLog(pod, config, findings.handler),
    imageMounts: toImageMounts(findings.volumes),
    volumes: toImageVolumes(image.config.volumes, findings.volumes),
    stopSignal: toStopSignal(config.stopSignal, image.config.stopSignal),
  };
}

function toLog(
  { logDirectory }: PodClient,
  { logPath }: ContainerConfig,
  { logBytesPerSecond }: Handler,
): ContainerRequest['log'] {
  const log = toLogPath(logDirectory, logPath);
  return log === undefined || logBytesPerSecond === 0 ? log : { ...log, bytesPerSecond: logBytesPerSecond };
}

function toImageMounts(volumes: readonly VolumeMount[]): ContainerRequest['imageMounts'] {
  return volumes.flatMap(({ containerPath, image }) =>
    image?.found === undefined
      ? []
      : [{ destination: containerPath, image: image.found, subPath: image.subPath }],
  );
}

export function topChainId(image: Image): string {
  const top = image.layers.at(-1);
  if (top === undefined) throw refuse(`image ${image.id}`, 'has no layers');
  return top.chainId;
}

function toSpec(
  config: ContainerConfig,
  host: ContainerHost,
  findings: ContainerFindings,
  pod: { readonly hostname: string; readonly namespaces: readonly Namespace[]; readonly hostSysfs: boolean },
): Spec {
  const security = config.linux?.securityContext;
  const { handler, user, image, seccomp, apparmorProfile, volumes, devices } = findings;
  const privileged = security?.privileged ?? false;
  const oomScoreAdj = toOomScoreAdj('config.linux.resources', config.linux?.resources);
  return {
    ociVersion: '1.2.0',
    process: {
      terminal: config.tty,
      user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
      args: toArgs(config, image.config),
      env: toEnv(config, image.config, { hostname: pod.hostname, home: user.home }),
      cwd: toCwd(config, image.config),
      capabilities: toCapabilities(security?.capabilities, privileged, host.capabilities),
      noNewPrivileges: security?.noNewPrivs ?? false,
      ...(apparmorProfile === undefined ? {} : { apparmorProfile }),
      ...(oomScoreAdj === undefined ? {} : { oomScoreAdj: Math.max(oomScoreAdj, host.minOomScoreAdj) }),
    },
    root: { path: 'rootfs', readonly: security?.readonlyRootfs ?? false },
    mounts: withCgroupAccess(handler, toMounts(volumes, privileged, pod.hostSysfs)),
    linux: {
      resources: toContainerResources(config, host, devices),
      namespaces: pod.namespaces,
      devices: withOwner(handler, user, devices.devices),
      ...(seccomp === undefined ? {} : { seccomp }),
      rootfsPropagation: rootfsPropagation(volumes),
      ...toGuardedPaths(security),
    },
  };
}

function toContainerResources(
  config: ContainerConfig,
  host: ContainerHost,
  { rules }: DeviceAccess,
): Resources {
  return {
    ...toResources('config.linux.resources', config.linux?.resources, host),
    devices: [...defaultDeviceRules, ...rules],
  };
}

function toImageClient(image: VolumeMount['image']): Pick<MountClient, 'image'> {
  if (image === undefined) return {};
  const { reference, subPath, found } = image;
  return { image: { reference, subPath, digest: found?.digest ?? '' } };
}

function toContainerClient(
  config: ContainerConfig,
  metadata: ContainerClient['metadata'],
  { user, volumes }: ContainerFindings,
): ContainerClient {
  const { image, annotations, userSpecifiedImage, runtimeHandler } = config.image ?? {};
  return {
    version: 1,
    metadata,
    labels: checkLabels(config.labels),
    annotations: checkAnnotations(config.annotations),
    image: {
      image: image ?? '',
      annotations: annotations ?? {},
      userSpecifiedImage: checkText('config.image.user_specified_image', userSpecifiedImage ?? '', {
        mayBeEmpty: true,
      }),
      runtimeHandler: checkText('config.image.runtime_handler', runtimeHandler ?? '', { mayBeEmpty: true }),
    },
    mounts: config.mounts.map((mount, index) => ({
      containerPath: mount.containerPath,
      hostPath: mount.hostPath,
      readonly: mount.readonly,
      selinuxRelabel: mount.selinuxRelabel,
      propagation: mount.propagation,
      recursiveReadOnly: mount.recursiveReadOnly,
      mountOptions: mount.mountOptions,
      ...volumes[index]?.idMaps,
      ...toImageClient(volumes[index]?.image),
    })),
    supplementalGroups: user.additionalGids,
  };
}
