import { expect } from 'chai';
import {
  ListMetricDescriptorsResponse,
  type Metric,
  MetricType,
  PodSandboxMetrics,
} from '../../protos/gen/cri/runtime/v1/api.js';
import { type Family, commonLabels, encodedDescriptors, families } from './families.js';
import { MetricWriter, encodeLabels, field } from './metric-writer.js';

/** What the generated code makes of the bytes. */
function decode(writer: MetricWriter): Metric[] {
  return PodSandboxMetrics.decode(writer.finish()).metrics;
}

describe('a metric writer', () => {
  const labels = encodeLabels(['/pods/a', 'a', '', 'größe', 'default', 'pod']);
  const values = ['/pods/a', 'a', '', 'größe', 'default', 'pod'];

  it('writes what the generated code reads', () => {
    const writer = new MetricWriter(2, labels);
    writer.add(families.memoryRss, 4096);
    writer.add(families.memoryFailures, 7n, 'pgfault', 'container');
    expect(decode(writer)).to.deep.equal([
      {
        name: 'container_memory_rss',
        timestamp: 0n,
        metricType: MetricType.GAUGE,
        labelValues: values,
        value: { value: 4096n },
      },
      {
        name: 'container_memory_failures_total',
        timestamp: 0n,
        metricType: MetricType.COUNTER,
        labelValues: [...values, 'pgfault', 'container'],
        value: { value: 7n },
      },
    ]);
  });

  it('writes what the generated code would have written', () => {
    const writer = new MetricWriter(2, labels);
    writer.add(families.threads, 300);
    const [metric] = decode(writer);
    const whole = PodSandboxMetrics.encode({
      podSandboxId: '',
      metrics: [metric ?? expect.fail('no metric')],
      containerMetrics: [],
    }).finish();
    expect(writer.finish().equals(whole)).to.equal(true);
  });

  for (const value of [0n, 1n, 127n, 128n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
    it(`keeps ${value}`, () => {
      const writer = new MetricWriter(2, labels);
      writer.add(families.cpuUser, value);
      expect(decode(writer)[0]?.value).to.deep.equal({ value });
    });
  }

  it('keeps thousands of samples, and labels of any length', () => {
    const writer = new MetricWriter(2, labels);
    const long = 'x'.repeat(70_000);
    for (let index = 0; index < 3000; index++) writer.add(families.ulimits, index, `limit-${index}`);
    writer.add(families.ulimits, 1, long);
    const metrics = decode(writer);
    expect(metrics).to.have.length(3001);
    expect(metrics[2999]?.labelValues.at(-1)).to.equal('limit-2999');
    expect(metrics[3000]?.labelValues.at(-1)).to.equal(long);
  });

  it('has fields with long contents', () => {
    const name = 'y'.repeat(300);
    expect(PodSandboxMetrics.decode(field(1, Buffer.from(name))).podSandboxId).to.equal(name);
  });
});

describe('metric descriptors', () => {
  const { descriptors } = ListMetricDescriptorsResponse.decode(encodedDescriptors());

  it('describe every family once, with help and labels', () => {
    const all = Object.values<Family>(families);
    expect(new Set(all.map(({ name }) => name)).size).to.equal(all.length);
    expect(descriptors).to.have.length(all.length);
    for (const { name, help, labelKeys } of descriptors) {
      expect(help, name).to.not.equal('');
      expect(labelKeys.slice(0, commonLabels.length), name).to.deep.equal([...commonLabels]);
      expect(new Set(labelKeys).size, name).to.equal(labelKeys.length);
    }
  });

  it('count with names that say so', () => {
    // A number of inodes is no count of events, whatever cAdvisor calls it.
    for (const { name, type } of Object.values<Family>(families))
      if (name.endsWith('_total') && name !== 'container_fs_inodes_total')
        expect(type, name).to.equal(MetricType.COUNTER);
  });

  it('are all that cAdvisor has through the kubelet', () => {
    const expected = [
      'blkio_device_usage_total',
      'cpu_cfs_periods_total cpu_cfs_throttled_periods_total cpu_cfs_throttled_seconds_total',
      'cpu_system_seconds_total cpu_usage_seconds_total cpu_user_seconds_total',
      'file_descriptors fs_inodes_free fs_inodes_total fs_limit_bytes fs_reads_bytes_total fs_reads_total',
      'fs_usage_bytes fs_writes_bytes_total fs_writes_total',
      'hugetlb_max_usage_bytes hugetlb_usage_bytes last_seen',
      'memory_cache memory_failcnt memory_failures_total memory_kernel_usage memory_mapped_file',
      'memory_max_usage_bytes memory_rss memory_swap memory_usage_bytes memory_working_set_bytes',
      'network_receive_bytes_total network_receive_errors_total network_receive_packets_dropped_total',
      'network_receive_packets_total network_transmit_bytes_total network_transmit_errors_total',
      'network_transmit_packets_dropped_total network_transmit_packets_total oom_events_total',
      'pressure_cpu_stalled_seconds_total pressure_cpu_waiting_seconds_total',
      'pressure_io_stalled_seconds_total pressure_io_waiting_seconds_total',
      'pressure_memory_stalled_seconds_total pressure_memory_waiting_seconds_total',
      'processes sockets spec_cpu_period spec_cpu_quota spec_cpu_shares spec_memory_limit_bytes',
      'spec_memory_reservation_limit_bytes spec_memory_swap_limit_bytes start_time_seconds',
      'threads threads_max ulimits_soft',
    ].flatMap((line) => line.split(' ').map((name) => `container_${name}`));
    expect(descriptors.map(({ name }) => name)).to.include.members(expected);
  });
});
