import { mkdir, readFile, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import type * as api from '../protos/gen/cri/runtime/v1/api.js';
import {
  type Bed,
  type Pod,
  type Workload,
  containerConfig,
  createContainer,
  exitOf,
  hostNetwork,
  openBed,
  pidOf,
  podInfoOf,
  runContainer,
  runPod,
  statusOf,
} from './bed.js';
import { cgroupHierarchies } from './instance.js';
import { refusal } from './refusal.js';

const MiB = 1n << 20n;

type Resources = api.DeepPartial<api.LinuxContainerResources>;

/** Limits that change while they are in use. */
describe('changing resources', function () {
  this.timeout(120_000);
  let bed: Bed;
  let pod: Pod;

  before(async () => {
    bed = await openBed();
    pod = await runPod(bed, 'pod', hostNetwork);
  });
  after(async () => {
    await bed?.end();
  });

  const run = (name: string, resources: Resources): Promise<Workload> =>
    runContainer(bed, pod, containerConfig(bed, name, 'exec sleep 1000', { linux: { resources } }));
  const update = (containerId: string, linux: Resources): Promise<unknown> =>
    bed.daemon.client.runtime.updateContainerResources({ containerId, linux });
  const resourcesOf = async (id: string) => (await statusOf(bed, id)).resources?.linux;

  /** Control files of a container's cgroup that exist, of these names. */
  const cgroupFiles = async ({ id }: Workload, names: readonly string[]): Promise<Record<string, string>> => {
    const found: Record<string, string> = {};
    for (const hierarchy of await cgroupHierarchies()) {
      for (const name of names) {
        const file = path.join(hierarchy, bed.daemon.instance.cgroupParent, id, name);
        const text = await readFile(file, 'utf8').catch(() => undefined);
        if (text !== undefined) found[name] = text.trim();
      }
    }
    return found;
  };
  const limitFiles = [
    ...['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes', 'memory.max', 'memory.swap.max'],
    ...['cpu.shares', 'cpu.weight', 'cpu.cfs_quota_us', 'cpu.cfs_period_us', 'cpu.max'],
    ...['cpuset.cpus', 'cpuset.mems'],
  ];

  describe('of a container', () => {
    it('takes every field, in any direction, and tells it in the status, after a restart as well', async () => {
      const container = await run('all', { memoryLimitInBytes: 64n * MiB, cpuShares: 512n });
      const steps: readonly Resources[] = [
        { memoryLimitInBytes: 128n * MiB, memorySwapLimitInBytes: 256n * MiB },
        { memoryLimitInBytes: 96n * MiB, memorySwapLimitInBytes: 96n * MiB },
        { memoryLimitInBytes: 512n * MiB, memorySwapLimitInBytes: 512n * MiB },
        { cpuQuota: 20_000n, cpuPeriod: 100_000n },
        { cpuQuota: 5000n, cpuPeriod: 20_000n },
        { cpuPeriod: 50_000n },
        { cpuShares: 2048n, cpusetCpus: '0', cpusetMems: '0' },
      ];
      for (const step of steps) {
        await update(container.id, step);
        expect(await resourcesOf(container.id)).to.include(step);
      }
      const last = { ...steps[2], ...steps[4], ...steps[5], ...steps[6] };
      expect(await resourcesOf(container.id)).to.include(last);
      const files = await cgroupFiles(container, limitFiles);
      expect(files['memory.limit_in_bytes'] ?? files['memory.max']).to.equal(String(512n * MiB));
      expect(files['cpu.max'] ?? `${files['cpu.cfs_quota_us']} ${files['cpu.cfs_period_us']}`).to.equal(
        '5000 50000',
      );
      expect(files['cpuset.cpus']).to.equal('0');
      await bed.daemon.restart();
      expect(await resourcesOf(container.id)).to.include(last);
      await update(container.id, { cpuShares: 100n });
      expect(await resourcesOf(container.id)).to.include({ ...last, cpuShares: 100n });
    });

    it('lets swap change alone, counted from the memory limit there is', async function () {
      const container = await run('swap', { memoryLimitInBytes: 64n * MiB });
      const files = await cgroupFiles(container, ['memory.memsw.limit_in_bytes', 'memory.swap.max']);
      if (Object.keys(files).length === 0) return this.skip();
      await update(container.id, { memorySwapLimitInBytes: 100n * MiB });
      expect(await resourcesOf(container.id)).to.include({
        memoryLimitInBytes: 64n * MiB,
        memorySwapLimitInBytes: 100n * MiB,
      });
      const refused = await refusal(update(container.id, { memorySwapLimitInBytes: 32n * MiB }));
      expect(status[refused.code]).to.equal('INVALID_ARGUMENT');
      expect(refused.details).to.contain('memory_swap_limit_in_bytes');
    });

    it('leaves everything as it was when the kernel refuses one of them', async () => {
      const before = {
        memoryLimitInBytes: 64n * MiB,
        cpuShares: 512n,
        cpuQuota: 50_000n,
        cpuPeriod: 100_000n,
        cpusetCpus: '0',
      };
      const container = await run('rollback', before);
      const old = await cgroupFiles(container, limitFiles);
      const changes = {
        memoryLimitInBytes: 200n * MiB,
        memorySwapLimitInBytes: 300n * MiB,
        cpuShares: 99n,
        cpuQuota: 7000n,
        cpuPeriod: 20_000n,
      };
      for (const bad of [{ cpusetCpus: '0-4095' }, { cpusetMems: '77' }]) {
        const refused = await refusal(update(container.id, { ...changes, ...bad }));
        expect(status[refused.code], refused.details).to.equal('INVALID_ARGUMENT');
        expect(refused.details).to.contain('cpuset');
        expect(await cgroupFiles(container, limitFiles)).to.deep.equal(old);
        expect(await resourcesOf(container.id)).to.include(before);
      }
    });

    it('leaves everything as it was when the change cannot be kept on disk', async () => {
      const before = { memoryLimitInBytes: 64n * MiB, cpuShares: 512n };
      const container = await run('unkept', before);
      const old = await cgroupFiles(container, limitFiles);
      const obstacle = path.join(bed.daemon.instance.root, 'containers', container.id, 'state.json');
      await mkdir(obstacle);
      await refusal(update(container.id, { memoryLimitInBytes: 200n * MiB, cpuShares: 99n }));
      expect(await cgroupFiles(container, limitFiles)).to.deep.equal(old);
      expect(await resourcesOf(container.id)).to.include(before);
      await rmdir(obstacle);
      await update(container.id, { cpuShares: 99n });
      expect(await resourcesOf(container.id)).to.include({ ...before, cpuShares: 99n });
    });

    it('keeps the score for the case that memory runs out: it is that of the living process', async () => {
      const container = await run('score', { oomScoreAdj: 500n });
      await update(container.id, { oomScoreAdj: 900n, cpuShares: 300n });
      const file = `/proc/${await pidOf(bed, container.id)}/oom_score_adj`;
      expect((await readFile(file, 'utf8')).trim()).to.equal('500');
      expect(await resourcesOf(container.id)).to.include({ oomScoreAdj: 500n, cpuShares: 300n });
    });

    it('takes control files by name with cgroup v2, and says so where there is none', async () => {
      const container = await run('unified', {});
      const isV2 = 'memory.high' in (await cgroupFiles(container, ['memory.high']));
      const call = update(container.id, { unified: { 'memory.high': String(64n * MiB) } });
      if (isV2) {
        await call;
        expect((await resourcesOf(container.id))?.unified).to.deep.equal({
          'memory.high': String(64n * MiB),
        });
      } else {
        const { code, details } = await refusal(call);
        expect(status[code]).to.equal('INVALID_ARGUMENT');
        expect(details).to.contain('unified needs cgroup v2');
      }
    });

    it('refuses by name what makes no sense', async () => {
      const container = await run('absurd', { cpuShares: 512n });
      for (const [field, linux] of [
        ['memory_limit_in_bytes', { memoryLimitInBytes: -5n }],
        ['memory_limit_in_bytes', { memoryLimitInBytes: 2n ** 62n }],
        ['memory_swap_limit_in_bytes', { memoryLimitInBytes: 10n * MiB, memorySwapLimitInBytes: MiB }],
        ['cpu_period', { cpuPeriod: 5n }],
        ['cpu_period', { cpuPeriod: -1n }],
        ['cpu_quota', { cpuQuota: 10n }],
        ['cpu_quota', { cpuQuota: -7n }],
        ['cpu_shares', { cpuShares: -1n }],
        ['cpu_shares', { cpuShares: 2n ** 60n }],
        ['cpuset_cpus', { cpusetCpus: '0;rm' }],
        ['cpuset_mems', { cpusetMems: '../..' }],
        ['oom_score_adj', { oomScoreAdj: 1001n }],
        ['hugepage_limits', { hugepageLimits: [{ pageSize: '2 MB', limit: 1n }] }],
        ['hugetlb', { hugepageLimits: [{ pageSize: '3MB', limit: 1n }] }],
        ['unified', { unified: { 'cgroup.procs': '1' } }],
        ['unified', { unified: { '../memory.max': '1' } }],
      ] as readonly (readonly [string, Resources])[]) {
        const { code, details } = await refusal(update(container.id, { ...linux, cpuShares: 7n, ...linux }));
        expect(status[code], details).to.be.oneOf(['INVALID_ARGUMENT', 'FAILED_PRECONDITION']);
        expect(details).to.contain(field);
      }
      expect(await resourcesOf(container.id)).to.include({ cpuShares: 512n });
      const { runtime } = bed.daemon.client;
      const missing = await refusal(runtime.updateContainerResources({ containerId: container.id }));
      expect(status[missing.code]).to.equal('INVALID_ARGUMENT');
      expect(status[(await refusal(update('0123456789ab', {}))).code]).to.equal('NOT_FOUND');
    });

    it('is possible before it starts, and not after its end', async () => {
      const config = containerConfig(bed, 'phases', 'exit 0', { linux: { resources: { cpuShares: 512n } } });
      const container = await createContainer(bed, pod, config);
      await update(container.id, { cpuShares: 256n });
      expect(await resourcesOf(container.id)).to.include({ cpuShares: 256n });
      await bed.daemon.client.runtime.startContainer({ containerId: container.id });
      await exitOf(bed, container.id);
      const { code } = await refusal(update(container.id, { cpuShares: 128n }));
      expect(status[code]).to.equal('FAILED_PRECONDITION');
      expect(await resourcesOf(container.id)).to.include({ cpuShares: 256n });
    });
  });

  describe('of a pod', () => {
    const limitsOf = async (id: string): Promise<Readonly<Record<string, unknown>>> => {
      const { overhead, resources } = await podInfoOf(bed, { id });
      return { overhead, resources };
    };

    it('keeps what the kubelet has set on its cgroup, and tells it, after a restart as well', async () => {
      const { runtime } = bed.daemon.client;
      const linux = {
        ...hostNetwork.linux,
        overhead: { memoryLimitInBytes: 10n * MiB },
        resources: { memoryLimitInBytes: 100n * MiB, cpuShares: 512n },
      };
      const { id: podSandboxId } = await runPod(bed, 'limits', { linux });
      const asked = await limitsOf(podSandboxId);
      expect(asked['overhead']).to.include({ memoryLimitInBytes: String(10n * MiB) });
      expect(asked['resources']).to.include({ memoryLimitInBytes: String(100n * MiB), cpuShares: '512' });

      const resources = { memoryLimitInBytes: 200n * MiB, cpuQuota: 50_000n, cpuPeriod: 100_000n };
      await runtime.updatePodSandboxResources({ podSandboxId: podSandboxId.slice(0, 12), resources });
      await bed.daemon.restart();
      const told = await limitsOf(podSandboxId);
      expect(told['overhead']).to.include({ memoryLimitInBytes: String(10n * MiB) });
      expect(told['resources']).to.include({
        memoryLimitInBytes: String(200n * MiB),
        cpuQuota: '50000',
        cpuShares: '0',
      });
    });

    it('is refused by name for what makes no sense, and for a pod that does not run', async () => {
      const { runtime } = bed.daemon.client;
      const { id: podSandboxId } = await runPod(bed, 'refused', hostNetwork);
      const resources = { cpuShares: 512n };
      for (const [code, text, request] of [
        ['INVALID_ARGUMENT', 'resources.cpu_period', { podSandboxId, resources: { cpuPeriod: 5n } }],
        [
          'INVALID_ARGUMENT',
          'overhead.memory_limit_in_bytes',
          { podSandboxId, overhead: { memoryLimitInBytes: -9n } },
        ],
        ['INVALID_ARGUMENT', 'resources', { podSandboxId }],
        ['INVALID_ARGUMENT', 'pod_sandbox_id', { resources }],
        ['NOT_FOUND', 'no such pod sandbox', { podSandboxId: '0123456789ab', resources }],
      ] as const) {
        const refused = await refusal(runtime.updatePodSandboxResources(request));
        expect(status[refused.code]).to.equal(code);
        expect(refused.details).to.contain(text);
      }
      await runtime.stopPodSandbox({ podSandboxId });
      const { code } = await refusal(runtime.updatePodSandboxResources({ podSandboxId, resources }));
      expect(status[code]).to.equal('FAILED_PRECONDITION');
      expect(await limitsOf(podSandboxId)).to.deep.equal({ overhead: undefined, resources: undefined });
    });
  });
});
