/**
 * The OCI runtime specification's config.json, version 1.2, as TypeScript: the parts a Linux runtime reads.
 *
 * Field names are the specification's. Everything is readonly: a spec is built once (by cri/translate, or parsed from a
 * bundle by parse.ts), checked once (validate.ts) and then only read. Numbers that may exceed 2^53 are still numbers
 * here, as JSON has them; who writes them to the kernel refuses what is not exact.
 */
export interface Spec {
  readonly ociVersion: string;
  readonly process?: Process | undefined;
  readonly root?: Root | undefined;
  readonly hostname?: string | undefined;
  readonly domainname?: string | undefined;
  readonly mounts?: readonly Mount[] | undefined;
  readonly hooks?: Hooks | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  readonly linux?: Linux | undefined;
}

/** OCI runtime-spec config.md#process: also what an exec brings. */
export interface Process {
  readonly terminal?: boolean | undefined;
  readonly consoleSize?: ConsoleSize | undefined;
  readonly user: User;
  readonly args: readonly string[];
  readonly commandLine?: string | undefined;
  readonly env?: readonly string[] | undefined;
  readonly cwd: string;
  readonly capabilities?: Capabilities | undefined;
  readonly rlimits?: readonly Rlimit[] | undefined;
  readonly noNewPrivileges?: boolean | undefined;
  readonly apparmorProfile?: string | undefined;
  readonly oomScoreAdj?: number | undefined;
  readonly scheduler?: Scheduler | undefined;
  readonly selinuxLabel?: string | undefined;
  readonly ioPriority?: IoPriority | undefined;
  readonly execCPUAffinity?: CpuAffinity | undefined;
}

export interface ConsoleSize {
  /** Rows. */
  readonly height: number;
  /** Columns. */
  readonly width: number;
}

export interface User {
  readonly uid: number;
  readonly gid: number;
  readonly umask?: number | undefined;
  readonly additionalGids?: readonly number[] | undefined;
}

/** Names as in capabilities(7), "CAP_CHOWN". An absent set is empty. */
export interface Capabilities {
  readonly bounding?: readonly string[] | undefined;
  readonly effective?: readonly string[] | undefined;
  readonly inheritable?: readonly string[] | undefined;
  readonly permitted?: readonly string[] | undefined;
  readonly ambient?: readonly string[] | undefined;
}

export interface Rlimit {
  /** "RLIMIT_NOFILE". */
  readonly type: string;
  /** 2^64-1 (RLIM_INFINITY) is any number from 2^63 on. */
  readonly soft: number;
  readonly hard: number;
}

export interface Scheduler {
  readonly policy: string;
  readonly nice?: number | undefined;
  readonly priority?: number | undefined;
  readonly flags?: readonly string[] | undefined;
  readonly runtime?: number | undefined;
  readonly deadline?: number | undefined;
  readonly period?: number | undefined;
}

export interface IoPriority {
  readonly class: string;
  readonly priority: number;
}

export interface CpuAffinity {
  readonly initial?: string | undefined;
  readonly final?: string | undefined;
}

export interface Root {
  readonly path: string;
  readonly readonly?: boolean | undefined;
}

export interface Mount {
  readonly destination: string;
  /** "bind", "proc", "tmpfs" …; a bind may also be told by its options. */
  readonly type?: string | undefined;
  readonly source?: string | undefined;
  readonly options?: readonly string[] | undefined;
  readonly uidMappings?: readonly IdMapping[] | undefined;
  readonly gidMappings?: readonly IdMapping[] | undefined;
}

export interface Hook {
  readonly path: string;
  readonly args?: readonly string[] | undefined;
  readonly env?: readonly string[] | undefined;
  /** Seconds. */
  readonly timeout?: number | undefined;
}

export interface Hooks {
  readonly prestart?: readonly Hook[] | undefined;
  readonly createRuntime?: readonly Hook[] | undefined;
  readonly createContainer?: readonly Hook[] | undefined;
  readonly startContainer?: readonly Hook[] | undefined;
  readonly poststart?: readonly Hook[] | undefined;
  readonly poststop?: readonly Hook[] | undefined;
}

/** OCI runtime-spec config-linux.md. */
export interface Linux {
  readonly uidMappings?: readonly IdMapping[] | undefined;
  readonly gidMappings?: readonly IdMapping[] | undefined;
  readonly sysctl?: Readonly<Record<string, string>> | undefined;
  readonly resources?: Resources | undefined;
  readonly cgroupsPath?: string | undefined;
  readonly namespaces?: readonly Namespace[] | undefined;
  readonly devices?: readonly Device[] | undefined;
  readonly netDevices?: Readonly<Record<string, NetDevice>> | undefined;
  readonly seccomp?: Seccomp | undefined;
  readonly rootfsPropagation?: string | undefined;
  readonly maskedPaths?: readonly string[] | undefined;
  readonly readonlyPaths?: readonly string[] | undefined;
  readonly mountLabel?: string | undefined;
  readonly intelRdt?: IntelRdt | undefined;
  readonly memoryPolicy?: MemoryPolicy | undefined;
  readonly personality?: Personality | undefined;
  readonly timeOffsets?: Readonly<Record<string, TimeOffset>> | undefined;
}

export interface IdMapping {
  readonly containerID: number;
  readonly hostID: number;
  readonly size: number;
}

export const namespaceTypes = ['pid', 'network', 'mount', 'ipc', 'uts', 'user', 'cgroup', 'time'] as const;
export type NamespaceType = (typeof namespaceTypes)[number];

/** A kind that is not listed is the host's; one without a path is new; one with a path is joined. */
export interface Namespace {
  readonly type: NamespaceType;
  readonly path?: string | undefined;
}

export interface Device {
  readonly path: string;
  /** c (or u, unbuffered), b, p. */
  readonly type: 'c' | 'u' | 'b' | 'p';
  readonly major?: number | undefined;
  readonly minor?: number | undefined;
  readonly fileMode?: number | undefined;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
}

export interface NetDevice {
  readonly name?: string | undefined;
}

export interface IntelRdt {
  readonly closID?: string | undefined;
  readonly schemata?: readonly string[] | undefined;
  readonly l3CacheSchema?: string | undefined;
  readonly memBwSchema?: string | undefined;
  readonly enableCMT?: boolean | undefined;
  readonly enableMBM?: boolean | undefined;
  readonly enableMonitoring?: boolean | undefined;
}

export interface MemoryPolicy {
  readonly mode: string;
  readonly nodes?: string | undefined;
  readonly flags?: readonly string[] | undefined;
}

export interface Personality {
  readonly domain: string;
  readonly flags?: readonly string[] | undefined;
}

export interface TimeOffset {
  readonly secs?: number | undefined;
  readonly nanosecs?: number | undefined;
}

/** OCI runtime-spec config-linux.md#control-groups. */
export interface Resources {
  readonly devices?: readonly DeviceRule[] | undefined;
  readonly memory?: MemoryResources | undefined;
  readonly cpu?: CpuResources | undefined;
  readonly pids?: { readonly limit?: number | undefined } | undefined;
  readonly blockIO?: BlockIoResources | undefined;
  readonly hugepageLimits?: readonly HugepageLimit[] | undefined;
  readonly network?: NetworkResources | undefined;
  readonly rdma?: Readonly<Record<string, RdmaLimit>> | undefined;
  /** cgroup v2 file name to content. */
  readonly unified?: Readonly<Record<string, string>> | undefined;
}

export interface DeviceRule {
  readonly allow: boolean;
  /** a, c or b; absent is a. */
  readonly type?: string | undefined;
  /** Absent or -1: every number. */
  readonly major?: number | undefined;
  readonly minor?: number | undefined;
  /** Some of "rwm". */
  readonly access?: string | undefined;
}

/** Bytes; -1 is unlimited. */
export interface MemoryResources {
  readonly limit?: number | undefined;
  readonly reservation?: number | undefined;
  /** Memory and swap together. */
  readonly swap?: number | undefined;
  readonly kernel?: number | undefined;
  readonly kernelTCP?: number | undefined;
  readonly swappiness?: number | undefined;
  readonly disableOOMKiller?: boolean | undefined;
  readonly useHierarchy?: boolean | undefined;
  readonly checkBeforeUpdate?: boolean | undefined;
}

/** Quota and periods in microseconds. */
export interface CpuResources {
  readonly shares?: number | undefined;
  readonly quota?: number | undefined;
  readonly burst?: number | undefined;
  readonly period?: number | undefined;
  readonly realtimeRuntime?: number | undefined;
  readonly realtimePeriod?: number | undefined;
  readonly cpus?: string | undefined;
  readonly mems?: string | undefined;
  readonly idle?: number | undefined;
}

export interface BlockIoResources {
  readonly weight?: number | undefined;
  readonly leafWeight?: number | undefined;
  readonly weightDevice?: readonly WeightDevice[] | undefined;
  readonly throttleReadBpsDevice?: readonly ThrottleDevice[] | undefined;
  readonly throttleWriteBpsDevice?: readonly ThrottleDevice[] | undefined;
  readonly throttleReadIOPSDevice?: readonly ThrottleDevice[] | undefined;
  readonly throttleWriteIOPSDevice?: readonly ThrottleDevice[] | undefined;
}

export interface WeightDevice {
  readonly major: number;
  readonly minor: number;
  readonly weight?: number | undefined;
  readonly leafWeight?: number | undefined;
}

export interface ThrottleDevice {
  readonly major: number;
  readonly minor: number;
  readonly rate: number;
}

export interface HugepageLimit {
  /** "2MB". */
  readonly pageSize: string;
  readonly limit: number;
}

export interface NetworkResources {
  readonly classID?: number | undefined;
  readonly priorities?: readonly { readonly name: string; readonly priority: number }[] | undefined;
}

export interface RdmaLimit {
  readonly hcaHandles?: number | undefined;
  readonly hcaObjects?: number | undefined;
}

/** OCI runtime-spec config-linux.md#seccomp. */
export interface Seccomp {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number | undefined;
  readonly architectures?: readonly string[] | undefined;
  readonly flags?: readonly string[] | undefined;
  readonly listenerPath?: string | undefined;
  readonly listenerMetadata?: string | undefined;
  readonly syscalls?: readonly SeccompSyscall[] | undefined;
}

export interface SeccompSyscall {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number | undefined;
  readonly args?: readonly SeccompArg[] | undefined;
}

export interface SeccompArg {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number | undefined;
  readonly op: string;
}
