import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { cgroupHierarchies } from '../instance.js';
import type { Cluster } from './cluster.js';
import { containerOf, terminationOf, type Pod } from './objects.js';

/** Limits as the kernel has them. */
export function resourcesSuite(of: () => Cluster): void {
  const limits = (cpu: string, memory: string): Readonly<Record<string, unknown>> => ({
    resources: { requests: { cpu: '50m', memory: '16Mi' }, limits: { cpu, memory } },
  });

  it('limits memory and processors of a container, and of its pod', async () => {
    const { node, remove, run, shell } = of();
    const pod = await run('limited', [shell('main', 'exec sleep 1000', limits('250m', '48Mi'))]);
    const parent = node.daemon.instance.cgroupParent;
    const container = await kernelLimits(parent, idOf(pod, 'main'));
    expect(container).to.deep.equal({ memoryBytes: 48 * 1024 * 1024, cpus: 0.25 });
    expect(await kernelLimits(parent, `pod${pod.metadata.uid}`)).to.deep.equal(container);
    await remove('limited');
  });

  it('changes the limits of a running container', async () => {
    const { kubectl, node, pod, remove, run, shell } = of();
    const before = await run('resized', [shell('main', 'exec sleep 1000', limits('250m', '48Mi'))]);
    const resources = { limits: { cpu: '500m', memory: '96Mi' } };
    const patch = JSON.stringify({ spec: { containers: [{ name: 'main', resources }] } });
    await kubectl.run(['patch', 'pod', 'resized', '--subresource=resize', '-p', patch]);
    const after = await pod(
      'resized',
      (seen) => containerOf(seen, 'main').resources?.limits?.['memory'] === '96Mi',
    );
    expect(containerOf(after, 'main').resources?.limits).to.deep.equal(resources.limits);
    expect(containerOf(after, 'main').restartCount).to.equal(0);
    expect(idOf(after, 'main')).to.equal(idOf(before, 'main'));
    const wanted = { memoryBytes: 96 * 1024 * 1024, cpus: 0.5 };
    expect(await kernelLimits(node.daemon.instance.cgroupParent, idOf(after, 'main'))).to.deep.equal(wanted);
    await remove('resized');
  });

  it('says that a container was killed for want of memory', async () => {
    const { create, pod, remove, shell } = of();
    const script = 'exec tail /dev/zero';
    await create('greedy', [shell('main', script, limits('500m', '24Mi'))], { restartPolicy: 'Never' });
    const ended = await pod('greedy', ({ status }) => status.phase === 'Failed');
    expect(terminationOf(ended, 'main')).to.include({ exitCode: 137, reason: 'OOMKilled' });
    await remove('greedy');
  });

  it('runs pods of every class of service', async () => {
    const { kubectl, remove, run, shell } = of();
    const same = { cpu: '100m', memory: '32Mi' };
    const classes: Readonly<Record<string, object>> = {
      Guaranteed: { resources: { requests: same, limits: same } },
      Burstable: { resources: { requests: same } },
      BestEffort: {},
    };
    for (const [name, more] of Object.entries(classes)) {
      const podName = name.toLowerCase();
      await run(podName, [shell('main', 'cat /proc/self/oom_score_adj; exec sleep 1000', { ...more })]);
      const [quality, log] = await Promise.all([
        kubectl.run(['get', 'pod', podName, '-o', 'jsonpath={.status.qosClass}']),
        kubectl.run(['logs', podName]),
      ]);
      expect(quality).to.equal(name);
      // A daemon that may not lower its own value gives that to guaranteed pods.
      if (name === 'BestEffort') expect(log).to.equal('1000\n');
      else expect(Number(log)).to.be.lessThan(1000);
      await remove(podName);
    }
  });
}

interface KernelLimits {
  readonly memoryBytes: number;
  readonly cpus: number;
}

function idOf(pod: Pod, container: string): string {
  return (containerOf(pod, container).containerID ?? '').replace(/^[^:]+:\/\//, '');
}

/** The limits of the cgroup of that name, in whichever hierarchies they are. */
async function kernelLimits(parent: string, name: string): Promise<KernelLimits> {
  const files = new Map<string, string>();
  for (const hierarchy of await cgroupHierarchies()) {
    const top = path.join(hierarchy, parent);
    const below = await readdir(top, { recursive: true }).catch(() => []);
    const found = below.find((entry) => path.basename(entry) === name);
    if (found === undefined) continue;
    for (const file of [
      'memory.max',
      'memory.limit_in_bytes',
      'cpu.max',
      'cpu.cfs_quota_us',
      'cpu.cfs_period_us',
    ]) {
      const text = await readFile(path.join(top, found, file), 'utf8').catch(() => undefined);
      if (text !== undefined) files.set(file, text.trim());
    }
  }
  const [quota, period] = (files.get('cpu.max') ?? '').split(' ');
  return {
    memoryBytes: Number(files.get('memory.max') ?? files.get('memory.limit_in_bytes')),
    cpus: Number(files.get('cpu.cfs_quota_us') ?? quota) / Number(files.get('cpu.cfs_period_us') ?? period),
  };
}
