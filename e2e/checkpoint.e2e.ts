import { access, mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { expect } from 'chai';
import { silentLogger } from '../runtime/base/logger.js';
import { openRuntime, type Runtime } from '../runtime/index.js';
import type { Spec } from '../runtime/spec/types.js';
import type { Container, ContainerRequest } from '../runtime/container/types.js';
import { SecurityProfile_ProfileType } from '../protos/gen/cri/runtime/v1/api.js';
import {
  type Bed,
  type ContainerConfig,
  type Pod,
  type Workload,
  containerConfig,
  exec,
  openBed,
  runContainer,
  runPod,
} from './bed.js';
import { awaitLine, awaitLog } from './container-log.js';
import { leftovers } from './instance.js';
import { tool } from './places.js';
import { slowness } from './slowness.js';

const signal = (): AbortSignal => AbortSignal.timeout(60_000 * slowness);
const counter =
  'echo kept >/kept; echo shared >/dev/shm/shared; i=0; while :; do i=$((i+1)); echo "count $i"; sleep 0.05; done';

/**
 * A container that counts in its memory is checkpointed through the CRI and goes on counting in a new container, which
 * the runtime library makes in this process on the directories of the daemon, while the daemon is down.
 */
describe('checkpoint and restore', function () {
  let bed: Bed;
  let pod: Pod;
  let counting: Workload;
  let dressed: Workload;
  let archive = '';
  let stopped = false;

  before(async function () {
    await access(tool('criu')).catch(() => this.skip());
    bed = await openBed();
    pod = await runPod(bed, 'checkpoint');
    counting = await runContainer(bed, pod, containerConfig(bed, 'counter', counter));
    dressed = await runContainer(bed, pod, await dressedConfig(bed));
    await awaitLine(dressed.log, 'count 5');
    archive = path.join(bed.daemon.instance.scratch, 'counter.tar');
    await awaitLine(counting.log, 'count 5');
  });
  after(async () => {
    if (stopped) await bed.daemon.start();
    await bed?.end();
  });

  const checkpoint = async (location: string, containerId = counting.id): Promise<void> => {
    await bed.daemon.client.runtime.checkpointContainer({ containerId, location, timeout: 0n });
  };
  const goesOn = async (): Promise<void> => {
    const last = await lastCount(counting.log);
    await awaitLog(counting.log, (lines) => lines.some(({ text }) => countOf(text) > last) || undefined);
  };

  it('writes an archive of mode 0600 and lets the container run on', async () => {
    const begin = performance.now();
    await checkpoint(archive);
    console.log(`      dump and archive: ${Math.round(performance.now() - begin)} ms`);
    expect((await stat(archive)).mode & 0o7777).to.equal(0o600);
    await goesOn();
    await checkpoint(`${archive}-dressed`, dressed.id);
  });

  it('replaces a link at the location and does not follow it', async () => {
    const victim = path.join(bed.daemon.instance.scratch, 'victim');
    const location = path.join(bed.daemon.instance.scratch, 'link.tar');
    await writeFile(victim, 'untouched');
    await symlink(victim, location);
    await checkpoint(location);
    expect(await readFile(victim, 'utf8')).to.equal('untouched');
    expect((await stat(location)).size).to.be.greaterThan(10_000);
  });

  it('leaves no file and no frozen container when the archive cannot be written', async () => {
    await refused(checkpoint(path.join(bed.daemon.instance.scratch, 'absent/x.tar')));
    await goesOn();
  });

  it('counts on in a new container of the same pod', async () => {
    const { instance } = bed.daemon;
    await bed.daemon.stop();
    stopped = true;
    const runtime = await openRuntime({
      root: instance.root,
      state: instance.state,
      logger: silentLogger,
      network: {
        confDir: bed.daemon.cniDirectory,
        binDirs: [],
        builtin: true,
        bridge: instance.bridge,
        pools: [bed.daemon.instance.pool],
      },
      registry: { configPath: [], parallelDownloads: 1, noProgressTimeoutMs: 0, pinned: [] },
      cgroup: { driver: 'cgroupfs', parent: instance.cgroupParent },
      checkpoint: { criu: tool('criu') },
      cdi: { directories: [] },
    });
    try {
      await restoreAndCompare(runtime, counting, archive);
      await restoreAndCompare(runtime, dressed, `${archive}-dressed`);
      await refuseOthers(runtime);
    } finally {
      await runtime.close();
    }
    await bed.daemon.start();
    stopped = false;
    const restored = await bed.daemon.client.runtime.listContainers({});
    expect(restored.containers.map(({ metadata }) => metadata?.name)).to.have.length(4);
  });

  it('serves exec, stop and remove like any other after a restart of the daemon', async () => {
    const { containers } = await bed.daemon.client.runtime.listContainers({});
    const restored = containers.find(
      ({ id, metadata }) => id !== counting.id && metadata?.name === 'counter',
    );
    if (restored === undefined) throw new Error('the restored container is gone');
    expect((await exec(bed, restored.id, 'cat /kept /dev/shm/shared; echo $$')).stdout).to.match(
      /^kept\nshared\n\d+\n$/,
    );
    const { runtime } = bed.daemon.client;
    await runtime.stopContainer({ containerId: restored.id, timeout: 0n });
    const { status } = await runtime.containerStatus({ containerId: restored.id });
    expect(status?.exitCode).to.equal(137);
    await runtime.removeContainer({ containerId: restored.id });
    await goesOn();
  });

  async function restoreAndCompare(runtime: Runtime, of: Workload, from: string): Promise<void> {
    const request = requestOf(required(runtime.containers.find(of.id)));
    const log = required(request.log);
    const begin = performance.now();
    const restored = await runtime.containers.restore(
      { ...request, name: `${request.name}-restored`, log: { ...log, path: `${of.id}.log` } },
      from,
      signal(),
    );
    console.log(`      restore: ${Math.round(performance.now() - begin)} ms`, restored.timingsMs);
    expect(restored.state.phase).to.equal('running');
    const file = path.join(log.directory, `${of.id}.log`);
    const first = await awaitLog(file, (lines) =>
      lines.length >= 3 ? countOf(lines[0]?.text ?? '') : undefined,
    );
    expect(first).to.be.greaterThan(5);
    expect(first).to.be.lessThan(await lastCount(of.log));
  }

  async function refuseOthers(runtime: Runtime): Promise<void> {
    const request = requestOf(required(runtime.containers.find(counting.id)));
    const before = runtime.containers.list().length;
    const bad = path.join(bed.daemon.instance.scratch, 'bad.tar');
    await writeFile(bad, (await readFile(archive)).subarray(0, 100_000));
    for (const location of [bad, path.join(bed.daemon.instance.scratch, 'absent.tar'), '/dev/null'])
      await refused(runtime.containers.restore({ ...request, name: 'bad' }, location, signal()));
    const { spec } = request;
    const narrower: readonly (readonly [string, Spec])[] = [
      ['No mapping', { ...spec, mounts: (spec.mounts ?? []).slice(0, 1) }],
      ['/ is writable', { ...spec, root: { path: 'rootfs', readonly: true } }],
      ['has capabilities 0x', { ...spec, process: { ...required(spec.process), capabilities: {} } }],
      ['may gain privileges', { ...spec, process: { ...required(spec.process), noNewPrivileges: true } }],
      [
        'shared pid namespace',
        {
          ...spec,
          linux: { ...spec.linux, namespaces: spec.linux?.namespaces?.filter(({ type }) => type !== 'pid') },
        },
      ],
    ];
    for (const [words, changed] of narrower) {
      const more = words.startsWith('shared')
        ? { sandboxNamespaces: [...request.sandboxNamespaces, 'pid' as const] }
        : {};
      const error = await refused(
        runtime.containers.restore({ ...request, ...more, spec: changed, name: 'bad' }, archive, signal()),
      );
      expect(error.message).to.contain(words);
    }
    await refused(runtime.containers.restore({ ...request, name: 'bad' }, archive, AbortSignal.timeout(30)));
    const late = path.join(bed.daemon.instance.scratch, 'late.tar');
    const error = await refused(
      runtime.containers.checkpoint(counting.id, { location: late, timeoutMs: 20 }, signal()),
    );
    expect(error).to.include({ code: 'DeadlineExceeded' });
    await refused(access(late));
    await goesOn();
    expect(runtime.containers.list()).to.have.length(before);
    const left = await leftovers(bed.daemon.instance);
    const known = runtime.containers.list().map(({ id }) => id);
    expect(
      left.filter((line) => /containers\/[0-9a-f]{64}/.test(line) && !known.some((id) => line.includes(id))),
    ).to.deep.equal([]);
  }
});

/** With what a careful pod gives its containers. */
async function dressedConfig(bed: Bed): Promise<ContainerConfig> {
  const hostPath = path.join(bed.daemon.instance.scratch, 'volume');
  await mkdir(hostPath, { recursive: true });
  await writeFile(path.join(hostPath, 'file'), 'of the host');
  const script = 'i=0; while :; do i=$((i+1)); echo "count $i"; sleep 0.05; done';
  return containerConfig(bed, 'dressed', script, {
    mounts: [{ hostPath, containerPath: '/volume', readonly: true }],
    linux: {
      resources: { memoryLimitInBytes: 64n << 20n },
      securityContext: {
        readonlyRootfs: true,
        noNewPrivs: true,
        seccomp: { profileType: SecurityProfile_ProfileType.RuntimeDefault },
        maskedPaths: ['/proc/kcore', '/proc/acpi', '/proc/keys', '/sys/firmware'],
        readonlyPaths: ['/proc/sys', '/proc/bus', '/proc/irq'],
      },
    },
  });
}

/** As its creator asked for it: an adopted container's spec holds what the runtime added. */
function requestOf({ request }: Container): ContainerRequest {
  const { linux } = request.spec;
  const namespaces = linux?.namespaces?.filter(({ path: joined }) => joined === undefined);
  return { ...request, spec: { ...request.spec, linux: { ...linux, namespaces } } };
}

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('it is missing');
  return value;
}

function countOf(text: string): number {
  return Number(/^count (\d+)$/.exec(text)?.[1] ?? 0);
}

async function lastCount(log: string): Promise<number> {
  return awaitLog(log, (lines) => Math.max(0, ...lines.map(({ text }) => countOf(text))) || undefined);
}

async function refused(call: Promise<unknown>): Promise<Error> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof Error)) throw new Error('it was not refused');
  return error;
}
