import { RuntimeError } from '../errors.js';
import type { BlockIoResources, Resources } from '../spec/types.js';
import type { ControlValue } from './values-v1.js';

/** OCI limits as cgroup v2 control files (kernel: cgroup-v2.rst). `unified` comes last and wins. */
export function valuesV2(resources: Resources): readonly ControlValue[] {
  return [
    ...cpuValues(resources),
    ...cpusetValues(resources),
    ...memoryValues(resources),
    ...pidsValues(resources),
    ...blockIoValues(resources.blockIO),
    ...hugepageValues(resources),
    ...rdmaValues(resources),
    ...unifiedValues(resources.unified ?? {}),
  ];
}

/**
 * v1 shares (2 to 262144, default 1024) as a v2 weight (1 to 10000, default 100): quadratic in the logarithm, so that
 * both ends and both defaults meet (Kubernetes blog 2026-01-30; runc and crun do the same).
 */
export function weightOfShares(shares: number): number {
  if (shares <= 2) return 1;
  if (shares >= 262144) return 10000;
  const log = Math.log2(shares);
  return Math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34));
}

function* cpuValues({ cpu }: Resources): Generator<ControlValue> {
  if (cpu === undefined) return;
  if (cpu.realtimePeriod !== undefined || cpu.realtimeRuntime !== undefined) {
    throw new RuntimeError(
      'InvalidArgument',
      'linux.resources.cpu.realtimePeriod and realtimeRuntime need cgroup v1',
    );
  }
  if (cpu.idle !== undefined) yield { controller: 'cpu', file: 'cpu.idle', value: String(cpu.idle) };
  if (cpu.shares !== undefined && cpu.shares !== 0 && cpu.idle !== 1) {
    yield { controller: 'cpu', file: 'cpu.weight', value: String(weightOfShares(cpu.shares)) };
  }
  const quota =
    cpu.quota === undefined || cpu.quota === 0 ? undefined : cpu.quota < 0 ? 'max' : String(cpu.quota);
  const period = cpu.period === undefined || cpu.period === 0 ? undefined : String(cpu.period);
  if (quota !== undefined || period !== undefined) {
    yield {
      controller: 'cpu',
      file: 'cpu.max',
      value: [quota ?? 'max', period].filter((word) => word !== undefined).join(' '),
    };
  }
  if (cpu.burst !== undefined) yield { controller: 'cpu', file: 'cpu.max.burst', value: String(cpu.burst) };
}

function* cpusetValues({ cpu }: Resources): Generator<ControlValue> {
  if (cpu?.cpus !== undefined && cpu.cpus !== '')
    yield { controller: 'cpuset', file: 'cpuset.cpus', value: cpu.cpus };
  if (cpu?.mems !== undefined && cpu.mems !== '')
    yield { controller: 'cpuset', file: 'cpuset.mems', value: cpu.mems };
}

/** OCI's swap is memory and swap together; v2 limits swap alone. */
function* memoryValues({ memory }: Resources): Generator<ControlValue> {
  if (memory === undefined) return;
  const bytes = (value: number): string => (value < 0 ? 'max' : String(value));
  const { limit, swap, reservation } = memory;
  if (swap !== undefined && swap !== 0)
    yield {
      controller: 'memory',
      file: 'memory.swap.max',
      value: bytes(swapAlone(swap, limit)),
      optional: swap < 0,
    };
  if (limit !== undefined && limit !== 0)
    yield { controller: 'memory', file: 'memory.max', value: bytes(limit) };
  if (reservation !== undefined && reservation !== 0)
    yield { controller: 'memory', file: 'memory.low', value: bytes(reservation) };
}

function swapAlone(swap: number, limit: number | undefined): number {
  if (swap < 0) return -1;
  if (limit === undefined || limit <= 0) {
    throw new RuntimeError(
      'InvalidArgument',
      'linux.resources.memory.swap needs linux.resources.memory.limit',
    );
  }
  if (swap < limit)
    throw new RuntimeError(
      'InvalidArgument',
      'linux.resources.memory.swap is below linux.resources.memory.limit',
    );
  return swap - limit;
}

function* pidsValues({ pids }: Resources): Generator<ControlValue> {
  if (pids?.limit === undefined || pids.limit === 0) return;
  yield { controller: 'pids', file: 'pids.max', value: pids.limit < 0 ? 'max' : String(pids.limit) };
}

function* blockIoValues(io: BlockIoResources | undefined): Generator<ControlValue> {
  if (io === undefined) return;
  if (io.weight !== undefined && io.weight !== 0) {
    yield { controller: 'io', file: 'io.bfq.weight', value: String(io.weight), optional: true };
    // cgroup-v2.rst: 10..1000 of blkio maps to 1..10000.
    yield {
      controller: 'io',
      file: 'io.weight',
      value: String(Math.max(1, Math.round(1 + ((io.weight - 10) * 9999) / 990))),
      optional: true,
    };
  }
  const throttles = [
    ['rbps', io.throttleReadBpsDevice],
    ['wbps', io.throttleWriteBpsDevice],
    ['riops', io.throttleReadIOPSDevice],
    ['wiops', io.throttleWriteIOPSDevice],
  ] as const;
  for (const [kind, devices] of throttles) {
    for (const { major, minor, rate } of devices ?? []) {
      yield {
        controller: 'io',
        file: 'io.max',
        value: `${major}:${minor} ${kind}=${rate === 0 ? 'max' : rate}`,
      };
    }
  }
}

function* hugepageValues({ hugepageLimits }: Resources): Generator<ControlValue> {
  for (const { pageSize, limit } of hugepageLimits ?? []) {
    yield {
      controller: 'hugetlb',
      file: `hugetlb.${pageSize}.max`,
      value: String(limit),
      optional: limit === 0,
    };
    yield {
      controller: 'hugetlb',
      file: `hugetlb.${pageSize}.rsvd.max`,
      value: String(limit),
      optional: true,
    };
  }
}

function* rdmaValues({ rdma }: Resources): Generator<ControlValue> {
  for (const [device, limit] of Object.entries(rdma ?? {})) {
    const handles = limit.hcaHandles === undefined ? '' : ` hca_handle=${limit.hcaHandles}`;
    const objects = limit.hcaObjects === undefined ? '' : ` hca_object=${limit.hcaObjects}`;
    yield { controller: 'rdma', file: 'rdma.max', value: `${device}${handles}${objects}` };
  }
}

/** A key is a control file of the cgroup itself: no path, a controller in front of the first dot, never cgroup.*. */
function* unifiedValues(unified: Readonly<Record<string, string>>): Generator<ControlValue> {
  for (const [file, value] of Object.entries(unified)) {
    const controller = file.split('.')[0] ?? '';
    if (!/^[a-z]+(\.[A-Za-z0-9_]+)+$/.test(file) || controller === 'cgroup') {
      throw new RuntimeError(
        'InvalidArgument',
        `linux.resources.unified: "${file}" is no control file of a controller`,
      );
    }
    // The kernel takes one device's line at a time (io.max).
    for (const line of value.trim().split('\n')) yield { controller, file, value: line };
  }
}
