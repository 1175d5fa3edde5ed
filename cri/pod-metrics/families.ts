import { ListMetricDescriptorsResponse, MetricType } from '../../protos/gen/cri/runtime/v1/api.js';
import { encodeHead } from './metric-writer.js';

/** A metric as clients know it by name: what it says, whether it only grows, and which labels follow the common ones. */
export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: MetricType;
  readonly labels: readonly string[];
  /** Name and type, encoded: every sample begins with them. */
  readonly head: Buffer;
}

/**
 * The labels of every sample, as cAdvisor gives them: the cgroup's path, the id of the container (of a pod's own samples:
 * of its sandbox), the image as the pod names it, and the names that Kubernetes has for it. A pod's own samples have
 * neither image nor container.
 */
export const commonLabels = ['id', 'name', 'image', 'container', 'namespace', 'pod'] as const;

function family(type: MetricType, name: string, help: string, labels: readonly string[]): Family {
  return { name, help, type, labels, head: encodeHead(name, type) };
}

const counter = (name: string, help: string, ...labels: readonly string[]): Family =>
  family(MetricType.COUNTER, name, help, labels);
const gauge = (name: string, help: string, ...labels: readonly string[]): Family =>
  family(MetricType.GAUGE, name, help, labels);

/** The names are cAdvisor's, so that dashboards and alerts find them. Values are whole numbers: the CRI has no others. */
export const families = {
  cpuUsage: counter('container_cpu_usage_seconds_total', 'CPU time used, in seconds.', 'cpu'),
  cpuUser: counter('container_cpu_user_seconds_total', 'CPU time used in user mode, in seconds.'),
  cpuSystem: counter('container_cpu_system_seconds_total', 'CPU time used in kernel mode, in seconds.'),
  cfsPeriods: counter('container_cpu_cfs_periods_total', 'Periods of the CPU quota that have passed.'),
  cfsThrottledPeriods: counter(
    'container_cpu_cfs_throttled_periods_total',
    'Periods in which the CPU quota was used up.',
  ),
  cfsThrottledSeconds: counter(
    'container_cpu_cfs_throttled_seconds_total',
    'Time spent waiting for the next period of the CPU quota, in seconds.',
  ),

  memoryUsage: gauge('container_memory_usage_bytes', 'Memory in use, caches included.'),
  memoryWorkingSet: gauge(
    'container_memory_working_set_bytes',
    'Memory in use less file pages that were not used lately: what eviction goes by.',
  ),
  memoryPeak: gauge('container_memory_max_usage_bytes', 'The most memory ever in use.'),
  memoryRss: gauge('container_memory_rss', 'Anonymous memory, in bytes.'),
  memoryCache: gauge('container_memory_cache', 'Page cache, in bytes.'),
  memoryMappedFile: gauge('container_memory_mapped_file', 'Files mapped into memory, in bytes.'),
  memoryKernel: gauge('container_memory_kernel_usage', 'Memory the kernel uses for it, in bytes.'),
  memorySwap: gauge('container_memory_swap', 'Swap in use, in bytes.'),
  memoryActiveFile: gauge('container_memory_total_active_file_bytes', 'File pages that were used lately.'),
  memoryInactiveFile: gauge(
    'container_memory_total_inactive_file_bytes',
    'File pages that were not used lately.',
  ),
  memoryFailcnt: counter('container_memory_failcnt', 'How often the memory limit was hit.'),
  memoryFailures: counter('container_memory_failures_total', 'Page faults.', 'failure_type', 'scope'),
  oomEvents: counter('container_oom_events_total', 'Processes killed for want of memory.'),

  hugetlbUsage: gauge('container_hugetlb_usage_bytes', 'Huge pages in use, in bytes.', 'pagesize'),
  hugetlbPeak: gauge(
    'container_hugetlb_max_usage_bytes',
    'The most huge pages ever in use, in bytes.',
    'pagesize',
  ),

  fsUsage: gauge('container_fs_usage_bytes', 'Size of the writable layer.', 'device'),
  fsLimit: gauge('container_fs_limit_bytes', 'Size of the file system of the writable layer.', 'device'),
  fsInodes: gauge('container_fs_inodes_total', 'Inodes of the file system of the writable layer.', 'device'),
  fsInodesFree: gauge('container_fs_inodes_free', 'Free inodes of that file system.', 'device'),
  fsReadsBytes: counter('container_fs_reads_bytes_total', 'Bytes read from a device.', 'device'),
  fsReads: counter('container_fs_reads_total', 'Reads from a device.', 'device'),
  fsWritesBytes: counter('container_fs_writes_bytes_total', 'Bytes written to a device.', 'device'),
  fsWrites: counter('container_fs_writes_total', 'Writes to a device.', 'device'),
  blkioUsage: counter(
    'container_blkio_device_usage_total',
    'Bytes moved to and from a device, by operation.',
    'device',
    'major',
    'minor',
    'operation',
  ),

  processes: gauge('container_processes', 'Processes.'),
  threads: gauge('container_threads', 'Processes and threads.'),
  threadsMax: gauge('container_threads_max', 'Limit of processes and threads; 0: none.'),
  fileDescriptors: gauge('container_file_descriptors', 'Open file descriptors of all processes.'),
  sockets: gauge('container_sockets', 'Open sockets of all processes.'),
  ulimits: gauge(
    'container_ulimits_soft',
    'Soft limits of the first process; 18446744073709551615: none.',
    'ulimit',
  ),

  pressureCpuStalled: counter(
    'container_pressure_cpu_stalled_seconds_total',
    'Time in which nothing could run for want of CPU, in seconds.',
  ),
  pressureCpuWaiting: counter(
    'container_pressure_cpu_waiting_seconds_total',
    'Time in which something waited for CPU, in seconds.',
  ),
  pressureMemoryStalled: counter(
    'container_pressure_memory_stalled_seconds_total',
    'Time in which nothing could run for want of memory, in seconds.',
  ),
  pressureMemoryWaiting: counter(
    'container_pressure_memory_waiting_seconds_total',
    'Time in which something waited for memory, in seconds.',
  ),
  pressureIoStalled: counter(
    'container_pressure_io_stalled_seconds_total',
    'Time in which nothing could run for waiting on I/O, in seconds.',
  ),
  pressureIoWaiting: counter(
    'container_pressure_io_waiting_seconds_total',
    'Time in which something waited for I/O, in seconds.',
  ),

  specCpuPeriod: gauge('container_spec_cpu_period', 'Period of the CPU quota, in microseconds.'),
  specCpuQuota: gauge(
    'container_spec_cpu_quota',
    'CPU time per period, in microseconds; absent without limit.',
  ),
  specCpuShares: gauge('container_spec_cpu_shares', 'Share of the CPU; 1024 is the default.'),
  specMemoryLimit: gauge('container_spec_memory_limit_bytes', 'Memory limit; 0: none.'),
  specMemoryReservation: gauge(
    'container_spec_memory_reservation_limit_bytes',
    'Memory that is reclaimed last; 0: none.',
  ),
  specMemorySwapLimit: gauge(
    'container_spec_memory_swap_limit_bytes',
    'Limit of memory and swap together; 0: none.',
  ),
  startTime: gauge('container_start_time_seconds', 'When it was started, in seconds since 1970.'),
  lastSeen: gauge('container_last_seen', 'When these figures were read, in seconds since 1970.'),

  rxBytes: counter('container_network_receive_bytes_total', 'Bytes received.', 'interface'),
  rxPackets: counter('container_network_receive_packets_total', 'Packets received.', 'interface'),
  rxDropped: counter(
    'container_network_receive_packets_dropped_total',
    'Received packets that were dropped.',
    'interface',
  ),
  rxErrors: counter('container_network_receive_errors_total', 'Errors while receiving.', 'interface'),
  txBytes: counter('container_network_transmit_bytes_total', 'Bytes sent.', 'interface'),
  txPackets: counter('container_network_transmit_packets_total', 'Packets sent.', 'interface'),
  txDropped: counter(
    'container_network_transmit_packets_dropped_total',
    'Packets dropped instead of being sent.',
    'interface',
  ),
  txErrors: counter('container_network_transmit_errors_total', 'Errors while sending.', 'interface'),
} as const satisfies Readonly<Record<string, Family>>;

let descriptors: Buffer | undefined;

/** The answer of ListMetricDescriptors, encoded once. */
export function encodedDescriptors(): Buffer {
  descriptors ??= Buffer.from(
    ListMetricDescriptorsResponse.encode({
      descriptors: Object.values<Family>(families).map(({ name, help, labels }) => ({
        name,
        help,
        labelKeys: [...commonLabels, ...labels],
      })),
    }).finish(),
  );
  return descriptors;
}
