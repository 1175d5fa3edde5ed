import { execFile } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { ContainerState, type ContainerStatus, PodSandboxState } from '../protos/gen/cri/runtime/v1/api.js';
import { strays } from './audit.js';
import { awaitChange } from './await-change.js';
import {
  type Bed,
  type ContainerConfig,
  type Pod,
  type Workload,
  containerConfig,
  counting,
  createContainer,
  exec,
  exitOf,
  openBed,
  patienceMs,
  pidOf,
  podStatusOf,
  runContainer,
  runPod,
  sharedPid,
  statusOf,
} from './bed.js';
import { awaitLine, awaitLog, readTexts } from './container-log.js';
import { identityOf } from './processes.js';

const { SANDBOX_READY } = PodSandboxState;
const { CONTAINER_RUNNING, CONTAINER_CREATED } = ContainerState;

for (const ending of ['stop', 'kill'] as const) {
  describe(`a daemon that is started again after ${ending === 'stop' ? 'SIGTERM' : 'SIGKILL'}`, () => {
    let bed: Bed;
    let pod: Pod;
    let counter: Workload;
    let identity: string;
    let waiting: Workload;
    const meanwhile = new Map<string, Workload>();

    before(async () => {
      bed = await openBed();
      const sync = path.join(bed.daemon.instance.scratch, 'sync');
      await mkdir(sync);
      pod = await runPod(bed, 'pod');
      // Only there a process may kill itself: it is not the first one of its pid namespace.
      const sharing = await runPod(bed, 'sharing', sharedPid);
      const start = (name: string, script: string, more: ContainerConfig = {}): Promise<Workload> =>
        runContainer(
          bed,
          more === sharedPid ? sharing : pod,
          containerConfig(bed, name, script, {
            mounts: [{ containerPath: '/sync', hostPath: sync }],
            ...more,
          }),
        );
      counter = await start('counter', `trap "exit 21" TERM; ${counting}`);
      identity = await identityOf(await pidOf(bed, counter.id));
      waiting = await createContainer(bed, pod, containerConfig(bed, 'waiting', 'echo started; exit 5'));
      const untilGo = 'while [ ! -e /sync/go ]; do usleep 20000; done';
      meanwhile.set('code', await start('code', `${untilGo}; exit 42`));
      meanwhile.set('signal', await start('signal', `${untilGo}; kill -SEGV $$`, sharedPid));
      meanwhile.set('oom', await start('oom', `${untilGo}; exec tail /dev/zero`, limited));
      meanwhile.set('before', await start('before', 'exit 3'));
      await exitOf(bed, workload('before').id);

      await bed.daemon[ending]();
      await writeFile(path.join(sync, 'go'), '');
      for (const name of ['code', 'signal', 'oom']) await exitRecord(bed, workload(name));
      const { length } = await readTexts(counter.log);
      await awaitLog(counter.log, (lines) => lines.length > length + 2 || undefined);
      await bed.daemon.start();
    });
    after(async () => {
      await bed?.[Symbol.asyncDispose]();
    });

    const workload = (name: string): Workload => {
      const found = meanwhile.get(name);
      if (found === undefined) throw new Error(name);
      return found;
    };
    const endOf = async (name: string): Promise<ContainerStatus> => exitOf(bed, workload(name).id);

    it('finds its pod as it was', async () => {
      const { state, network } = await podStatusOf(bed, pod);
      expect(state).to.equal(SANDBOX_READY);
      expect(network?.ip).to.match(/^10\./);
    });

    it('takes up what runs, and has not touched it', async () => {
      expect((await statusOf(bed, counter.id)).state).to.equal(CONTAINER_RUNNING);
      expect(await identityOf(await pidOf(bed, counter.id))).to.equal(identity);
      const texts = await readTexts(counter.log);
      expect(texts).to.deep.equal(texts.map((_, index) => String(index)));
    });

    it('knows how the others have ended meanwhile', async () => {
      expect(await endOf('before')).to.include({ exitCode: 3, reason: 'Error' });
      expect(await endOf('code')).to.include({ exitCode: 42, reason: 'Error' });
      expect(await endOf('signal')).to.include({ exitCode: 139, reason: 'Error' });
      expect(await endOf('oom')).to.include({ exitCode: 137, reason: 'OOMKilled' });
      for (const name of meanwhile.keys()) {
        const { startedAt, finishedAt, createdAt } = await endOf(name);
        expect(startedAt > createdAt && finishedAt > startedAt, `times of ${name}`).to.equal(true);
      }
    });

    it('executes in an adopted container', async () => {
      expect(await exec(bed, counter.id, 'echo $HOSTNAME; exit 6')).to.deep.equal({
        stdout: 'pod\n',
        stderr: '',
        exitCode: 6,
      });
    });

    it('starts one that was only created', async () => {
      expect((await statusOf(bed, waiting.id)).state).to.equal(CONTAINER_CREATED);
      await bed.daemon.client.runtime.startContainer({ containerId: waiting.id });
      expect(await exitOf(bed, waiting.id)).to.include({ exitCode: 5 });
      await awaitLine(waiting.log, 'started');
    });

    it('goes on with the log of an adopted container after a rotation', async () => {
      const rotated = `${counter.log}.1`;
      await promisify(execFile)('mv', [counter.log, rotated]);
      await bed.daemon.client.runtime.reopenContainerLog({ containerId: counter.id });
      await awaitLog(counter.log, (lines) => lines.length > 2 || undefined);
      const texts = [...(await readTexts(rotated)), ...(await readTexts(counter.log))];
      expect(texts).to.deep.equal(texts.map((_, index) => String(index)));
    });

    it('updates, measures and stops an adopted container', async () => {
      const { runtime } = bed.daemon.client;
      const linux = { cpuShares: 300n };
      await runtime.updateContainerResources({ containerId: counter.id, linux });
      const { stats } = await runtime.containerStats({ containerId: counter.id });
      expect(Number(stats?.cpu?.usageCoreNanoSeconds?.value)).to.be.greaterThan(0);
      await runtime.stopContainer({ containerId: counter.id, timeout: 20n });
      expect(await exitOf(bed, counter.id)).to.include({ exitCode: 21, reason: 'Error' });
    });

    it('has nothing that belongs to nobody, and can remove all', async () => {
      expect(await strays(bed)).to.deep.equal([]);
      await bed.end();
    });
  });
}

const limited: ContainerConfig = { linux: { resources: { memoryLimitInBytes: 32n << 20n } } };

/** Waits for what the monitor of a container writes at its end. */
async function exitRecord({ daemon }: Bed, { id }: Workload): Promise<void> {
  const directory = path.join(daemon.instance.state, 'containers', id);
  const look = async (): Promise<true | undefined> =>
    (await readdir(directory)).includes('exit') ? true : undefined;
  await awaitChange(directory, look, AbortSignal.timeout(patienceMs));
}
