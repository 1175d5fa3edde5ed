import { expect } from 'chai';
import { eventually } from '../eventually.js';
import type { Cluster } from './cluster.js';
import type { Pod } from './objects.js';

/** Series that dashboards are made of, with the names of pod and container. */
const labelled: readonly RegExp[] = [
  /^container_cpu_usage_seconds_total\{container="main",.*pod="busy"\} /m,
  /^container_memory_working_set_bytes\{container="main",.*pod="busy"\} /m,
  /^container_network_receive_bytes_total\{.*interface="eth0",.*pod="busy"\} /m,
];

/** What the kubelet tells of the pods' use of the node, from whichever source it has it. */
export function statsSuite(of: () => Cluster): void {
  it('counts processor time, memory and disk of pods', async () => {
    const { node, remove, run, shell } = of();
    const work = 'dd if=/dev/zero of=/file bs=1M count=3 2>/dev/null; while :; do :; done';
    await run('busy', [shell('main', work, { resources: { limits: { cpu: '100m', memory: '64Mi' } } })]);
    const busy = async (): Promise<PodStats | undefined> => {
      const { pods } = await node.kubelet.rest.get<{ pods: readonly PodStats[] }>('/stats/summary');
      return pods.find(({ podRef }) => podRef.name === 'busy');
    };
    const seen = await eventually(
      busy,
      (stats) =>
        (stats?.containers?.[0]?.cpu?.usageNanoCores ?? 0) > 1_000_000 &&
        (stats?.containers?.[0]?.rootfs?.usedBytes ?? 0) > 3_000_000,
      45_000,
    );
    const [container] = seen?.containers ?? [];
    expect(container?.name).to.equal('main');
    expect(container?.cpu?.usageNanoCores).to.be.within(1_000_000, 200_000_000);
    expect(container?.memory?.workingSetBytes).to.be.within(100_000, 64 * 1024 * 1024);
    expect(container?.rootfs?.usedBytes).to.be.within(3_000_000, 4_000_000);
    expect(seen?.network?.name).to.equal('eth0');
    expect(seen?.network?.rxBytes).to.be.a('number');
    const metrics = await node.kubelet.rest.text('/metrics/resource');
    expect(metrics).to.match(/^container_memory_working_set_bytes\{container="main",.*pod="busy"\} /m);
    expect(metrics).to.match(/^pod_cpu_usage_seconds_total\{.*pod="busy"\} /m);
    const cadvisor = await eventually(
      () => node.kubelet.rest.text('/metrics/cadvisor'),
      (text) => labelled.every((pattern) => pattern.test(text)),
      30_000,
    );
    for (const pattern of labelled) expect(pattern.test(cadvisor), pattern.source).to.equal(true);
    await remove('busy');
  });
}

interface PodStats {
  readonly podRef: Pick<Pod['metadata'], 'name'>;
  readonly containers?: readonly {
    readonly name: string;
    readonly cpu?: { readonly usageNanoCores?: number };
    readonly memory?: { readonly workingSetBytes?: number };
    readonly rootfs?: { readonly usedBytes?: number };
  }[];
  readonly network?: { readonly name?: string; readonly rxBytes?: number };
}
