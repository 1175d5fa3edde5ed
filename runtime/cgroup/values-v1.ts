import { RuntimeError } from '../errors.js';
import type { BlockIoResources, Resources } from '../spec/types.js';

/** One control file and what is written to it. `optional`: passed over where the kernel has no such file. */
export interface ControlValue {
  readonly controller: string;
  readonly file: string;
  readonly value: string;
  readonly optional?: boolean;
}

/** OCI limits as v1 control files, in an order that a fresh cgroup takes. */
export function valuesV1(resources: Resources): readonly ControlValue[] {
  if (Object.keys(resources.unified ?? {}).length > 0) {
    throw new RuntimeError('InvalidArgument', 'linux.resources.unified needs cgroup v2');
  }
  return [
    ...cpuValues(resources),
    ...cpusetValues(resources),
    ...memoryValues(resources),
    ...pidsValues(resources),
    ...blockIoValues(resources.blockIO),
    ...hugepageValues(resources),
    ...networkValues(resources),
    ...rdmaValues(resources),
  ];
}

function* cpuValues({ cpu }: Resources): Generator<ControlValue> {
  if (cpu === undefined) return;
  const set = (file: string, value: number | undefined): ControlValue[] =>
    value === undefined || value === 0 ? [] : [{ controller: 'cpu', file, value: String(value) }];
  yield* set('cpu.shares', cpu.shares);
  // The quota must fit the period whichever changes: period first, burst (bounded by the quota) last.
  yield* set('cpu.cfs_period_us', cpu.period);
  yield* set('cpu.cfs_quota_us', cpu.quota);
  if (cpu.burst !== undefined)
    yield { controller: 'cpu', file: 'cpu.cfs_burst_us', value: String(cpu.burst) };
  yield* set('cpu.rt_period_us', cpu.realtimePeriod);
  yield* set('cpu.rt_runtime_us', cpu.realtimeRuntime);
  if (cpu.idle !== undefined) yield { controller: 'cpu', file: 'cpu.idle', value: String(cpu.idle) };
}

function* cpusetValues({ cpu }: Resources): Generator<ControlValue> {
  if (cpu?.cpus !== undefined && cpu.cpus !== '')
    yield { controller: 'cpuset', file: 'cpuset.cpus', value: cpu.cpus };
  if (cpu?.mems !== undefined && cpu.mems !== '')
    yield { controller: 'cpuset', file: 'cpuset.mems', value: cpu.mems };
}

/** memory+swap may never be below memory, so the limit comes first on a fresh cgroup; update orders it by direction. */
function* memoryValues({ memory }: Resources): Generator<ControlValue> {
  if (memory === undefined) return;
  const set = (file: string, value: number | undefined): ControlValue[] =>
    value === undefined || value === 0 ? [] : [{ controller: 'memory', file, value: String(value) }];
  yield* set('memory.limit_in_bytes', memory.limit);
  yield* set('memory.memsw.limit_in_bytes', memory.swap);
  yield* set('memory.soft_limit_in_bytes', memory.reservation);
  yield* set('memory.kmem.tcp.limit_in_bytes', memory.kernelTCP);
  if (memory.swappiness !== undefined)
    yield { controller: 'memory', file: 'memory.swappiness', value: String(memory.swappiness) };
  if (memory.disableOOMKiller === true)
    yield { controller: 'memory', file: 'memory.oom_control', value: '1' };
}

function* pidsValues({ pids }: Resources): Generator<ControlValue> {
  if (pids?.limit === undefined || pids.limit === 0) return;
  yield { controller: 'pids', file: 'pids.max', value: pids.limit < 0 ? 'max' : String(pids.limit) };
}

function* blockIoValues(io: BlockIoResources | undefined): Generator<ControlValue> {
  if (io === undefined) return;
  if (io.weight !== undefined && io.weight !== 0)
    yield { controller: 'blkio', file: 'blkio.bfq.weight', value: String(io.weight), optional: true };
  for (const { major, minor, weight } of io.weightDevice ?? []) {
    if (weight !== undefined)
      yield {
        controller: 'blkio',
        file: 'blkio.bfq.weight_device',
        value: `${major}:${minor} ${weight}`,
        optional: true,
      };
  }
  const throttles = [
    ['read_bps', io.throttleReadBpsDevice],
    ['write_bps', io.throttleWriteBpsDevice],
    ['read_iops', io.throttleReadIOPSDevice],
    ['write_iops', io.throttleWriteIOPSDevice],
  ] as const;
  for (const [kind, devices] of throttles) {
    for (const { major, minor, rate } of devices ?? []) {
      yield {
        controller: 'blkio',
        file: `blkio.throttle.${kind}_device`,
        value: `${major}:${minor} ${rate}`,
      };
    }
  }
}

function* hugepageValues({ hugepageLimits }: Resources): Generator<ControlValue> {
  for (const { pageSize, limit } of hugepageLimits ?? []) {
    // The kubelet sends 0 for every size it knows: no need of a controller when there is nothing to give anyway.
    const optional = limit === 0;
    yield {
      controller: 'hugetlb',
      file: `hugetlb.${pageSize}.limit_in_bytes`,
      value: String(limit),
      optional,
    };
    yield {
      controller: 'hugetlb',
      file: `hugetlb.${pageSize}.rsvd.limit_in_bytes`,
      value: String(limit),
      optional: true,
    };
  }
}

function* networkValues({ network }: Resources): Generator<ControlValue> {
  if (network?.classID !== undefined && network.classID !== 0) {
    yield { controller: 'net_cls', file: 'net_cls.classid', value: String(network.classID) };
  }
  for (const { name, priority } of network?.priorities ?? []) {
    yield { controller: 'net_prio', file: 'net_prio.ifpriomap', value: `${name} ${priority}` };
  }
}

function* rdmaValues({ rdma }: Resources): Generator<ControlValue> {
  for (const [device, limit] of Object.entries(rdma ?? {})) {
    const handles = limit.hcaHandles === undefined ? '' : ` hca_handle=${limit.hcaHandles}`;
    const objects = limit.hcaObjects === undefined ? '' : ` hca_object=${limit.hcaObjects}`;
    yield { controller: 'rdma', file: 'rdma.max', value: `${device}${handles}${objects}` };
  }
}
