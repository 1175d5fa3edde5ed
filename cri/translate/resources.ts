import type { LinuxContainerResources } from '../../protos/gen/cri/runtime/v1/api.js';
import type { PodLimits } from '../../runtime/sandbox/types.js';
import type { CpuResources, HugepageLimit, MemoryResources, Resources } from '../../runtime/spec/types.js';
import { checkCount, checkInteger, checkText, quote, refuse } from './check.js';

/** Numbers above are not exact in JSON; nobody has 8 PiB of memory. */
const maxBytes = 2 ** 53 - 1;

/** What the host can limit, as far as it changes what is asked of it. */
export interface ResourceHost {
  /** Whether there is a hugetlb controller. */
  readonly hugetlb: boolean;
  /** Whether swap can be limited. */
  readonly swap: boolean;
}

/**
 * Limits of a request in OCI's form; 0 and absent mean "not given".
 *
 * @throws InvalidArgument for values no kernel accepts
 */
export function toResources(
  field: string,
  resources: LinuxContainerResources | undefined,
  host: ResourceHost,
): Resources | undefined {
  if (resources === undefined) return undefined;
  const memory = toMemory(field, resources, host);
  const cpu = toCpu(field, resources);
  const hugepageLimits = toHugepages(`${field}.hugepage_limits`, resources, host);
  const unified = toUnified(`${field}.unified`, resources.unified);
  return {
    ...(memory === undefined ? {} : { memory }),
    ...(cpu === undefined ? {} : { cpu }),
    ...(hugepageLimits.length === 0 ? {} : { hugepageLimits }),
    ...(unified === undefined ? {} : { unified }),
  };
}

/**
 * What a whole pod may use; undefined if nothing is said of it.
 *
 * @param prefix of the names of both fields
 * @throws InvalidArgument for values no kernel accepts
 */
export function toPodLimits(
  prefix: string,
  limits:
    | {
        readonly overhead?: LinuxContainerResources | undefined;
        readonly resources?: LinuxContainerResources | undefined;
      }
    | undefined,
  host: ResourceHost,
): PodLimits | undefined {
  toOomScoreAdj(`${prefix}overhead`, limits?.overhead);
  toOomScoreAdj(`${prefix}resources`, limits?.resources);
  const overhead = toResources(`${prefix}overhead`, limits?.overhead, host);
  const resources = toResources(`${prefix}resources`, limits?.resources, host);
  if (overhead === undefined && resources === undefined) return undefined;
  return {
    ...(overhead === undefined ? {} : { overhead }),
    ...(resources === undefined ? {} : { resources }),
  };
}

/** The score to be set, undefined if there is nothing to set. */
export function toOomScoreAdj(
  field: string,
  resources: LinuxContainerResources | undefined,
): number | undefined {
  return resources === undefined
    ? undefined
    : checkInteger(`${field}.oom_score_adj`, resources.oomScoreAdj, -1000, 1000);
}

/** A memory limit alone means no swap beyond it, as with every other runtime. */
function toMemory(
  field: string,
  resources: LinuxContainerResources,
  host: ResourceHost,
): MemoryResources | undefined {
  const limit = given(
    checkInteger(`${field}.memory_limit_in_bytes`, resources.memoryLimitInBytes, -1, maxBytes),
  );
  const swap = given(
    checkInteger(`${field}.memory_swap_limit_in_bytes`, resources.memorySwapLimitInBytes, -1, maxBytes),
  );
  if (limit !== undefined && swap !== undefined && swap !== -1 && (swap < limit || limit === -1)) {
    throw refuse(
      `${field}.memory_swap_limit_in_bytes`,
      `must not be below the memory limit ${limit}, which it includes`,
    );
  }
  if (swap !== undefined && swap !== -1 && limit === undefined) {
    throw refuse(`${field}.memory_swap_limit_in_bytes`, 'needs memory_limit_in_bytes');
  }
  if (limit === undefined && swap === undefined) return undefined;
  const sum = swap ?? (host.swap ? limit : undefined);
  return { ...(limit === undefined ? {} : { limit }), ...(sum === undefined ? {} : { swap: sum }) };
}

function toCpu(field: string, resources: LinuxContainerResources): CpuResources | undefined {
  const period = given(checkInteger(`${field}.cpu_period`, resources.cpuPeriod, 0, 1_000_000));
  if (period !== undefined && period < 1000)
    throw refuse(`${field}.cpu_period`, `must be at least 1000, not ${period}`);
  const quota = given(checkInteger(`${field}.cpu_quota`, resources.cpuQuota, -1, maxBytes));
  if (quota !== undefined && quota !== -1 && quota < 1000) {
    throw refuse(`${field}.cpu_quota`, `must be at least 1000, not ${quota}`);
  }
  const shares = given(checkInteger(`${field}.cpu_shares`, resources.cpuShares, 0, 2 ** 32));
  const cpus = toCpuList(`${field}.cpuset_cpus`, resources.cpusetCpus);
  const mems = toCpuList(`${field}.cpuset_mems`, resources.cpusetMems);
  const cpu = {
    ...(period === undefined ? {} : { period }),
    ...(quota === undefined ? {} : { quota }),
    ...(shares === undefined ? {} : { shares }),
    ...(cpus === '' ? {} : { cpus }),
    ...(mems === '' ? {} : { mems }),
  };
  return Object.keys(cpu).length === 0 ? undefined : cpu;
}

function given(value: number): number | undefined {
  return value === 0 ? undefined : value;
}

function toCpuList(field: string, text: string): string {
  checkText(field, text, { maxBytes: 4000, mayBeEmpty: true });
  if (text !== '' && !/^\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*$/.test(text)) {
    throw refuse(field, `must be a list such as 0-3,6, not ${quote(text)}`);
  }
  return text;
}

/** A limit of 0 on a host that cannot limit huge pages asks for nothing: it is left out, as the kubelet sends it always. */
function toHugepages(
  field: string,
  { hugepageLimits }: LinuxContainerResources,
  host: ResourceHost,
): readonly HugepageLimit[] {
  checkCount(field, hugepageLimits, 16);
  return hugepageLimits.flatMap(({ pageSize, limit }, index) => {
    if (!/^[1-9][0-9]{0,4}(KB|MB|GB)$/.test(pageSize)) {
      throw refuse(`${field}[${index}].page_size`, `must be a size such as 2MB, not ${quote(pageSize)}`);
    }
    const bytes = checkInteger(`${field}[${index}].limit`, limit, 0, maxBytes);
    return bytes === 0 && !host.hugetlb ? [] : [{ pageSize, limit: bytes }];
  });
}

/** Files of a container's own cgroup (cgroup v2). What moves processes or changes the tree is not a limit. */
function toUnified(
  field: string,
  unified: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> | undefined {
  const keys = Object.keys(unified);
  if (keys.length === 0) return undefined;
  checkCount(field, keys, 256);
  for (const [key, value] of Object.entries(unified)) {
    if (!/^[a-z0-9_]{1,64}(\.[a-zA-Z0-9_]{1,64}){1,4}$/.test(key) || key.startsWith('cgroup.')) {
      throw refuse(`${field}[${quote(key)}]`, 'is not the name of a limit');
    }
    // Several lines are several settings of one file (io.max).
    checkText(`${field}[${quote(key)}]`, value, { maxBytes: 4000, mayHaveControls: true });
  }
  return unified;
}

/** Limits in effect, in the CRI's form. */
export function fromResources(
  resources: Resources | undefined,
  oomScoreAdj: number | undefined,
): LinuxContainerResources {
  const { memory, cpu } = resources ?? {};
  return {
    cpuPeriod: BigInt(cpu?.period ?? 0),
    cpuQuota: BigInt(cpu?.quota ?? 0),
    cpuShares: BigInt(cpu?.shares ?? 0),
    memoryLimitInBytes: BigInt(memory?.limit ?? 0),
    oomScoreAdj: BigInt(oomScoreAdj ?? 0),
    cpusetCpus: cpu?.cpus ?? '',
    cpusetMems: cpu?.mems ?? '',
    hugepageLimits: (resources?.hugepageLimits ?? []).map(({ pageSize, limit }) => ({
      pageSize,
      limit: BigInt(limit),
    })),
    unified: { ...resources?.unified },
    memorySwapLimitInBytes: BigInt(memory?.swap ?? 0),
  };
}
