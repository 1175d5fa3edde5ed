import { execFile } from 'node:child_process';
import { appendFile, readFile, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { ContainerState, PodSandboxState } from '../protos/gen/cri/runtime/v1/api.js';
import { strays } from './audit.js';
import {
  type Bed,
  type Workload,
  addressOf,
  containerConfig,
  counting,
  createContainer,
  exitOf,
  openBed,
  patienceMs,
  pauseOf,
  pidOf,
  podStatusOf,
  removePod,
  runContainer,
  runPod,
  sharedPid,
  statusOf,
} from './bed.js';
import { awaitLog } from './container-log.js';
import { possessions } from './instance.js';
import { ended, identityOf, processesWith } from './processes.js';
import { eventually } from './eventually.js';

const { SANDBOX_READY, SANDBOX_NOTREADY } = PodSandboxState;
const { CONTAINER_RUNNING, CONTAINER_EXITED } = ContainerState;

describe('a daemon that finds its pods hurt', () => {
  for (const when of ['while it runs', 'while it is down'] as const) {
    it(`says that a pod is not ready whose pause process was killed ${when}`, async () => {
      await using bed = await openBed();
      const pod = await runPod(bed, 'no-pause', { portMappings: [{ containerPort: 80, hostPort: 28_080 }] });
      const container = await runContainer(bed, pod, containerConfig(bed, 'main', counting));
      const pid = await pauseOf(bed, pod);
      await whileDown(bed, when, async () => {
        process.kill(pid, 'SIGKILL');
        await ended(pid);
      });
      expect(
        await eventually(
          async () => (await podStatusOf(bed, pod)).state,
          (state) => state === SANDBOX_NOTREADY,
        ),
      ).to.equal(SANDBOX_NOTREADY);
      // The container has its own pid namespace; it is the kubelet that ends such a pod.
      expect((await statusOf(bed, container.id)).state).to.equal(CONTAINER_RUNNING);
      // Its network is given back when it is stopped, not before, however often the daemon starts.
      for (const _ of [1, 2]) await bed.daemon.restart();
      const other = await runPod(bed, 'other');
      expect(await addressOf(bed, other)).not.to.equal(await addressOf(bed, pod));
      expect((await possessions(bed.daemon.instance)).forwardedPorts).to.have.length(1);
      await removePod(bed, other);
      await removePod(bed, pod);
      await bed.end();
    });

    it(`ends a container whose monitor was killed ${when}`, async () => {
      await using bed = await openBed();
      const pod = await runPod(bed, 'no-monitor', { linux: { securityContext: { namespaceOptions: {} } } });
      const container = await runContainer(
        bed,
        pod,
        containerConfig(bed, 'main', `sleep 876543 & ${counting}`, sharedPid),
      );
      const init = await pidOf(bed, container.id);
      await awaitLog(container.log, (lines) => lines.length > 0 || undefined);
      const [monitor = 0] = await processesWith(container.id);
      await whileDown(bed, when, async () => {
        process.kill(monitor, 'SIGKILL');
        await ended(monitor);
      });
      const lost = { state: CONTAINER_EXITED, exitCode: 255, reason: 'Unknown', message: 'monitor lost' };
      expect(await exitOf(bed, container.id)).to.include(lost);
      await ended(init);
      expect(await processesWith('876543')).to.deep.equal([]);
      expect(await strays(bed)).to.deep.equal([]);
      // It is history: the next start says the same.
      await bed.daemon.restart();
      expect(await statusOf(bed, container.id)).to.include(lost);
      await removePod(bed, pod);
      await bed.end();
    });
  }

  it('finds nothing running on another boot, and can remove all', async () => {
    await using bed = await openBed();
    const { daemon } = bed;
    const pod = await runPod(bed, 'rebooted');
    const running = await runContainer(bed, pod, containerConfig(bed, 'running', counting));
    const created = await createContainer(bed, pod, containerConfig(bed, 'created', counting));
    const exited = await runContainer(bed, pod, containerConfig(bed, 'exited', 'exit 4'));
    await exitOf(bed, exited.id);
    await bed.daemon.client.runtime.stopContainer({ containerId: exited.id, timeout: 0n });
    await daemon.stop();
    await pretendReboot(bed);
    await daemon.start();
    expect((await podStatusOf(bed, pod)).state).to.equal(SANDBOX_NOTREADY);
    for (const { id } of [running, created])
      expect(await statusOf(bed, id)).to.include({
        state: CONTAINER_EXITED,
        exitCode: 255,
        reason: 'Unknown',
      });
    expect(await statusOf(bed, exited.id)).to.include({ exitCode: 4, reason: 'Error' });
    await removePod(bed, pod);
    const again = await runPod(bed, 'rebooted');
    await removePod(bed, again);
    await bed.end();
  });

  it('ends what runs when its live state was deleted', async () => {
    await using bed = await openBed();
    const { daemon } = bed;
    const pod = await runPod(bed, 'stateless');
    const running = await runContainer(bed, pod, containerConfig(bed, 'running', counting));
    await daemon.stop();
    await rm(daemon.instance.state, { recursive: true });
    await daemon.start();
    expect(await exitOf(bed, running.id)).to.include({
      exitCode: 255,
      reason: 'Unknown',
      message: 'monitor lost',
    });
    expect(await strays(bed)).to.deep.equal([]);
    await removePod(bed, pod);
    await bed.end();
  });

  it('keeps what it cannot read aside, and goes on with the others', async () => {
    await using bed = await openBed();
    const { daemon } = bed;
    const healthy = await runPod(bed, 'healthy');
    const living = await runContainer(bed, healthy, containerConfig(bed, 'main', counting));
    const torn = new Map<string, Workload>();
    for (const name of ['torn', 'foreign', 'empty'])
      torn.set(name, await runContainer(bed, healthy, containerConfig(bed, name, 'exit 0')));
    for (const { id } of torn.values()) await exitOf(bed, id);
    const hurt = await runPod(bed, 'hurt');
    await daemon.client.runtime.stopPodSandbox({ podSandboxId: hurt.id });
    await daemon.stop();
    const record = (room: string, id: string): string =>
      path.join(daemon.instance.root, room, id, 'record.json');
    await truncate(record('containers', torn.get('torn')?.id ?? ''), 100);
    await writeFile(record('containers', torn.get('foreign')?.id ?? ''), '{"version":99}');
    await truncate(record('containers', torn.get('empty')?.id ?? ''), 0);
    await appendFile(record('pods', hurt.id), '}');
    await daemon.start();

    expect((await statusOf(bed, living.id)).state).to.equal(CONTAINER_RUNNING);
    const { containers } = await daemon.client.runtime.listContainers();
    expect(containers.map(({ id }) => id)).to.deep.equal([living.id]);
    const { items } = await daemon.client.runtime.listPodSandbox();
    expect(items.map(({ id }) => id)).to.deep.equal([healthy.id]);
    const corrupt = [
      ...[...torn.values()].map(({ id }) => record('containers', id)),
      record('pods', hurt.id),
    ].map((file) => file.replace('/record.json', '.corrupt/record.json'));
    for (const file of corrupt) expect(await readFile(file, 'utf8')).to.be.a('string');
    // Their names are free again, and the next start leaves them alone.
    await daemon.restart();
    for (const file of corrupt) expect(await readFile(file, 'utf8')).to.be.a('string');
    await removePod(bed, await runPod(bed, 'hurt'));
    await runContainer(bed, healthy, containerConfig(bed, 'torn', 'exit 0'));
    await removePod(bed, healthy);
    for (const file of corrupt) await rm(path.dirname(file), { recursive: true });
    await bed.end();
  });

  it('reads the record of a container whose state is torn', async () => {
    await using bed = await openBed();
    const { daemon } = bed;
    const pod = await runPod(bed, 'torn-state');
    const container = await runContainer(bed, pod, containerConfig(bed, 'main', counting));
    await daemon.stop();
    await truncate(path.join(daemon.instance.state, 'containers', container.id, 'state.json'), 5);
    await truncate(path.join(daemon.instance.state, 'pods', pod.id, 'state.json'), 5);
    await daemon.start();
    expect((await statusOf(bed, container.id)).state).to.equal(CONTAINER_RUNNING);
    expect((await podStatusOf(bed, pod)).state).to.equal(SANDBOX_NOTREADY);
    await removePod(bed, pod);
    await bed.end();
  });

  it('can be killed at any moment of its start', async () => {
    await using bed = await openBed();
    const { daemon } = bed;
    const pod = await runPod(bed, 'patient');
    const container = await runContainer(bed, pod, containerConfig(bed, 'main', counting));
    const identity = await identityOf(await pidOf(bed, container.id));
    const stopped = await runContainer(bed, pod, containerConfig(bed, 'stopped', 'exit 8'));
    await exitOf(bed, stopped.id);
    await daemon.kill();
    const begin = performance.now();
    await daemon.start();
    const startMs = performance.now() - begin;
    await daemon.kill();
    for (const part of [0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]) await daemon.startAndKill(startMs * part);
    await daemon.start();
    expect((await podStatusOf(bed, pod)).state).to.equal(SANDBOX_READY);
    expect(await identityOf(await pidOf(bed, container.id))).to.equal(identity);
    expect(await statusOf(bed, stopped.id)).to.include({ exitCode: 8 });
    await removePod(bed, pod);
    await bed.end();
  });

  it('refuses to share its directories with a second daemon', async () => {
    await using bed = await openBed();
    const { instance, socket } = bed.daemon;
    const other = path.join(instance.scratch, 'other.sock');
    const args = [
      '--root',
      instance.root,
      '--state',
      instance.state,
      '--socket',
      other,
      '--config',
      '/dev/null',
    ];
    const program = path.join(import.meta.dirname, '../../hack/podwright');
    const failure: unknown = await promisify(execFile)(program, ['serve', ...args], {
      timeout: patienceMs,
    }).catch((error: unknown) => error);
    expect(failure).to.include({ code: 1 });
    expect((failure as { stderr: string }).stderr).to.contain(`another daemon works on ${instance.root}`);
    expect(await readdir(path.dirname(socket))).not.to.include('other.sock');
    expect((await bed.daemon.client.runtime.version()).runtimeName).to.equal('podwright');
    await bed.end();
  });
});

async function whileDown({ daemon }: Bed, when: string, work: () => Promise<void>): Promise<void> {
  const down = when === 'while it is down';
  if (down) await daemon.kill();
  await work();
  if (down) await daemon.start();
}

/** What the kernel forgets in a reboot is ended; what disks keep is left as it is, but for the boot it names. */
async function pretendReboot({ daemon: { instance } }: Bed): Promise<void> {
  const other = '00000000-1111-2222-3333-444444444444';
  await writeFile(path.join(instance.state, 'boot-id'), other);
  for (const room of ['pods', 'containers']) {
    for (const id of await readdir(path.join(instance.root, room))) {
      await rm(path.join(instance.state, room, id, 'state.json'), { force: true });
      const file = path.join(instance.root, room, id, 'record.json');
      const record = JSON.parse(await readFile(file, 'utf8')) as object;
      await writeFile(file, JSON.stringify({ ...record, bootId: other }));
    }
  }
  const { box, pods } = await possessions(instance);
  const pids = [...box, ...pods];
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It went with the first of its pid namespace.
    }
    await ended(pid);
  }
}
