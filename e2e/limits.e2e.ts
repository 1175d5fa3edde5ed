import { mkdir, readFile, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { NamespaceMode } from '../protos/gen/cri/runtime/v1/api.js';
import {
  type Bed,
  type ContainerConfig,
  type Pod,
  type Workload,
  containerConfig,
  createContainer,
  exec,
  exitOf,
  openBed,
  pidOf,
  removePod,
  runContainer,
  runPod,
  statusOf,
} from './bed.js';
import { awaitLine } from './container-log.js';
import { cgroupHierarchies } from './instance.js';
import { refusal } from './refusal.js';

const MiB = 1n << 20n;

type Resources = NonNullable<NonNullable<ContainerConfig['linux']>['resources']>;

/** Limits as the kernel has them, and what happens at them. */
describe('a limit', () => {
  let bed: Bed;
  let pod: Pod;

  before(async () => {
    bed = await openBed();
    pod = await runPod(bed, 'pod');
  });
  after(async () => {
    await bed?.end();
  });

  const limited = (resources: Resources): ContainerConfig => ({ linux: { resources } });
  const run = (name: string, script: string, resources: Resources): Promise<Workload> =>
    runContainer(bed, pod, containerConfig(bed, name, script, limited(resources)));
  /** A file of the container's cgroup, by its v1 or its v2 name. */
  const cgroupFile = async ({ id }: Workload, ...names: readonly string[]): Promise<string> => {
    for (const hierarchy of await cgroupHierarchies()) {
      for (const name of names) {
        const file = path.join(hierarchy, bed.daemon.instance.cgroupParent, id, name);
        const text = await readFile(file, 'utf8').catch(() => undefined);
        if (text !== undefined) return text.trim();
      }
    }
    throw new Error(`the cgroup has none of ${names.join(', ')}`);
  };

  it('of memory kills what exceeds it, and the status says so', async () => {
    const container = await run('oom', 'exec tail /dev/zero', { memoryLimitInBytes: 32n * MiB });
    expect(await exitOf(bed, container.id)).to.include({ exitCode: 137, reason: 'OOMKilled' });
  });

  it('of memory that kills a child alone is not the end of the container', async () => {
    const script = 'tail /dev/zero; echo "child $?"; exit 5';
    const container = await run('oom-child', script, { memoryLimitInBytes: 32n * MiB });
    const { exitCode, reason } = await exitOf(bed, container.id);
    expect(exitCode).to.equal(5);
    expect(reason).to.be.oneOf(['Error', 'OOMKilled']);
    await awaitLine(container.log, 'child 137');
  });

  it('of memory holds for what is executed, too', async () => {
    const container = await run('oom-exec', 'exec sleep 1000', { memoryLimitInBytes: 32n * MiB });
    expect((await exec(bed, container.id, ['tail', '/dev/zero'])).exitCode).to.equal(137);
  });

  it('killed by a signal is not mistaken for one of memory', async () => {
    const container = await run('killed', 'exec sleep 1000', { memoryLimitInBytes: 32n * MiB });
    process.kill(await pidOf(bed, container.id), 'SIGKILL');
    expect(await exitOf(bed, container.id)).to.include({ exitCode: 137, reason: 'Error' });
  });

  it('is what the kernel has, and what the status says', async () => {
    const resources = {
      memoryLimitInBytes: 64n * MiB,
      cpuPeriod: 50_000n,
      cpuQuota: 25_000n,
      cpuShares: 512n,
      cpusetCpus: '0',
      oomScoreAdj: 500n,
    };
    const container = await run('limits', 'exec sleep 1000', resources);
    expect(await cgroupFile(container, 'memory.limit_in_bytes', 'memory.max')).to.equal(String(64n * MiB));
    expect(await cgroupFile(container, 'cpu.cfs_quota_us', 'cpu.max')).to.be.oneOf(['25000', '25000 50000']);
    expect(await cgroupFile(container, 'cpu.shares', 'cpu.weight')).to.be.oneOf(['512', '20', '59']);
    expect(await cgroupFile(container, 'cpuset.cpus')).to.equal('0');
    const pid = await pidOf(bed, container.id);
    expect((await readFile(`/proc/${pid}/oom_score_adj`, 'utf8')).trim()).to.equal('500');
    expect((await exec(bed, container.id, 'grep Cpus_allowed_list /proc/self/status')).stdout).to.match(
      /\t0\n$/,
    );
    const { linux } = (await statusOf(bed, container.id)).resources ?? {};
    expect(linux).to.include(resources);
  });

  it('of processes in the pod of the kubelet is seen by its containers', async function () {
    // The CRI has no limit of processes for a container: the kubelet sets one on the pod's parent cgroup.
    const container = await run('pids', 'exec sleep 1000', {});
    const found = await cgroupFile(container, 'pids.current').catch(() => undefined);
    if (found === undefined) return this.skip();
    expect(Number(found)).to.equal(1);
  });

  it('that is raised or lowered takes effect at once', async () => {
    const container = await run('updated', 'exec sleep 1000', {
      memoryLimitInBytes: 64n * MiB,
      cpuShares: 512n,
    });
    const { runtime } = bed.daemon.client;
    const linux = { memoryLimitInBytes: 128n * MiB, cpuQuota: 20_000n, cpuPeriod: 100_000n };
    await runtime.updateContainerResources({ containerId: container.id, linux });
    expect(await cgroupFile(container, 'memory.limit_in_bytes', 'memory.max')).to.equal(String(128n * MiB));
    expect(await cgroupFile(container, 'cpu.cfs_quota_us', 'cpu.max')).to.be.oneOf(['20000', '20000 100000']);
    // What the update does not name stays.
    expect((await statusOf(bed, container.id)).resources?.linux).to.include({ ...linux, cpuShares: 512n });
    await runtime.updateContainerResources({
      containerId: container.id,
      linux: { memoryLimitInBytes: 48n * MiB },
    });
    expect(await cgroupFile(container, 'memory.limit_in_bytes', 'memory.max')).to.equal(String(48n * MiB));
    await bed.daemon.restart();
    const after = (await statusOf(bed, container.id)).resources?.linux;
    expect(after).to.include({ memoryLimitInBytes: 48n * MiB, cpuQuota: 20_000n, cpuShares: 512n });
  });

  it('that the kernel refuses leaves all the old ones', async () => {
    const before = { memoryLimitInBytes: 64n * MiB, cpuShares: 512n, cpuQuota: 50_000n, cpuPeriod: 100_000n };
    const container = await run('refused', 'exec sleep 1000', before);
    const { runtime } = bed.daemon.client;
    const linux = { memoryLimitInBytes: 96n * MiB, cpuShares: 256n, cpuQuota: 10_000n, cpusetCpus: '0-4095' };
    const refused = await refusal(runtime.updateContainerResources({ containerId: container.id, linux }));
    expect(status[refused.code], refused.details).to.equal('INVALID_ARGUMENT');
    expect(refused.details).to.contain('cpuset');
    expect(await cgroupFile(container, 'memory.limit_in_bytes', 'memory.max')).to.equal(String(64n * MiB));
    expect(await cgroupFile(container, 'cpu.cfs_quota_us', 'cpu.max')).to.be.oneOf(['50000', '50000 100000']);
    expect((await statusOf(bed, container.id)).resources?.linux).to.include(before);
  });

  it('below what is in use is refused, or has the kernel kill, but never hangs', async () => {
    const script = 'dd if=/dev/zero of=/dev/shm/x bs=1M count=40 2>/dev/null; echo filled; exec sleep 1000';
    const container = await run('used', script, { memoryLimitInBytes: 64n * MiB });
    await awaitLine(container.log, 'filled');
    const { runtime } = bed.daemon.client;
    try {
      const linux = { memoryLimitInBytes: 8n * MiB };
      await runtime.updateContainerResources({ containerId: container.id, linux });
    } catch (error) {
      const { code, details } = error as Error & { code: status; details: string };
      expect(status[code], details).to.be.oneOf([
        'FAILED_PRECONDITION',
        'INVALID_ARGUMENT',
        'RESOURCE_EXHAUSTED',
      ]);
      expect(details).to.match(/memory/);
      expect((await statusOf(bed, container.id)).resources?.linux?.memoryLimitInBytes).to.equal(64n * MiB);
    }
  });

  it('of a container that has ended cannot be changed', async () => {
    const container = await run('ended', 'exit 0', {});
    await exitOf(bed, container.id);
    const { runtime } = bed.daemon.client;
    const call = runtime.updateContainerResources({ containerId: container.id, linux: { cpuShares: 5n } });
    expect(status[(await refusal(call)).code]).to.equal('FAILED_PRECONDITION');
  });

  it('too small to start in is told by name', async () => {
    const config = containerConfig(bed, 'tiny', 'exec sleep 1000', limited({ memoryLimitInBytes: 4096n }));
    const { code, details } = await refusal(createContainer(bed, pod, config));
    expect(status[code]).to.equal('RESOURCE_EXHAUSTED');
    expect(details).to.contain('a memory limit of 4096 bytes is too small');
  });

  it("of the pod's parent cgroup holds for all of its containers", async () => {
    const parent = `${bed.daemon.instance.cgroupParent}/kubepod`;
    // The kubelet makes it before it asks for the pod, and removes it after.
    const directories = (await cgroupHierarchies()).map((hierarchy) => path.join(hierarchy, parent));
    for (const directory of directories) await mkdir(directory);
    const linux = {
      cgroupParent: parent,
      securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } },
    };
    const nested = await runPod(bed, 'nested', { linux });
    const container = await runContainer(bed, nested, containerConfig(bed, 'main', 'exec sleep 1000'));
    const groups = await readFile(`/proc/${await pidOf(bed, container.id)}/cgroup`, 'utf8');
    for (const line of groups.trim().split('\n')) expect(line).to.contain(`${parent}/${container.id}`);
    await removePod(bed, nested);
    for (const directory of directories) await rmdir(directory);
  });
});
