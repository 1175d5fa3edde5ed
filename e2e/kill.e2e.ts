import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { ContainerState, NamespaceMode } from '../protos/gen/cri/runtime/v1/api.js';
import { strays } from './audit.js';
import {
  type Bed,
  type Pod,
  type Workload,
  containerConfig,
  counting,
  exec,
  exitOf,
  openBed,
  pidOf,
  removePod,
  runContainer,
  runPod,
  statusOf,
} from './bed.js';
import { awaitLog, readTexts } from './container-log.js';
import { buildImage, buildLayer } from './fixtures/image-builder.js';
import { type Load, makeWorker, pullOverAndOver } from './kill-load.js';
import { identityOf, processesWith } from './processes.js';
import { seededRandom } from './random.js';

/**
 * The daemon is killed at random moments under load. KILLS says how often, SEED repeats a run's choices (not its
 * timing, which is the machine's).
 */
const kills = Number(process.env['KILLS'] ?? 8);
const seed = Number(process.env['SEED'] ?? randomBytes(4).readUInt32LE());
const workers = 4;
/** A pool of 13 pods' addresses: leaked ones would be missed soon. */
const poolSize = 13;

interface Bystander {
  readonly pod: Pod;
  readonly container: Workload;
  readonly identity: string;
}

describe(`the daemon, killed ${kills} times under load (SEED=${seed})`, function () {
  this.timeout(60_000 + kills * 15_000);
  const random = seededRandom(seed);
  let bed: Bed;
  let down = new AbortController();
  let bystanders: readonly Bystander[] = [];

  before(async () => {
    const network = `10.${random.between(100, 199)}.${random.between(0, 255)}.0/28`;
    bed = await openBed({ settings: { 'network.pool': network } });
    bystanders = [
      await startBystander(bed, 'by-pod', NamespaceMode.POD, NamespaceMode.CONTAINER),
      await startBystander(bed, 'by-host', NamespaceMode.NODE, NamespaceMode.POD),
    ];
  });
  after(async () => {
    await bed?.[Symbol.asyncDispose]();
  });

  it('loses nothing, leaks nothing and disturbs nobody', async () => {
    const lives = (): number => crew.reduce((sum, worker) => sum + worker.lives, 0);
    let isLast = false;
    const isOver = (): boolean => isLast && lives() > 0;
    const load: Load = { bed, random, down: () => down.signal, isOver };
    const crew = Array.from({ length: workers }, (_, index) => makeWorker(load, index));
    const extra = await serveExtraImage(bed);
    for (let kill = 1; kill <= kills; kill += 1) {
      setMaxListeners(100, down.signal);
      const working = [
        ...crew.map((worker) => worker.work()),
        pullOverAndOver(load, extra),
        lingerInExec(load, bystanders),
      ];
      const failed = Promise.race(
        working.map((work) => work.then(() => new Promise<never>(() => undefined))),
      );
      await Promise.race([delay(random.between(20, 1500)), failed]);
      down.abort();
      await bed.daemon.kill();
      await Promise.all(working);
      down = new AbortController();
      // Now and then the next one is killed as well, while it takes up what the first has left.
      while (random.next() < 0.25) await bed.daemon.startAndKill(random.between(50, 900));
      await bed.daemon.start();
      for (const worker of crew) await worker.check();
      await checkBystanders(bed, bystanders);
      expect(await strays(bed), `after kill ${kill}`).to.deep.equal([]);
    }
    console.log(`      ${lives()} pods lived undisturbed between ${kills} kills`);
    // On a slow machine none may have: the last daemon is left alone until one has.
    isLast = true;
    await Promise.all(crew.map((worker) => worker.work()));
    expect(lives(), 'pods that lived').to.be.greaterThan(0);
  });

  it('has every address left', async () => {
    const free = poolSize - 1;
    const pods = await Promise.all(
      Array.from({ length: free }, (_, index) => runPod(bed, `filler-${index}`, { linux: {} })),
    );
    expect(pods).to.have.length(free);
    await Promise.all(pods.map((pod) => removePod(bed, pod)));
  });

  it('has kept every line of the bystanders', async () => {
    for (const { container, pod } of bystanders) {
      await exec(bed, container.id, 'kill -TERM $(cat /tmp/pid)');
      expect(await exitOf(bed, container.id)).to.include({ exitCode: 9, reason: 'Error' });
      const texts = await readTexts(container.log);
      expect(texts.length).to.be.greaterThan(5);
      expect(texts).to.deep.equal(texts.map((_, index) => String(index)));
      await removePod(bed, pod);
    }
  });

  it('leaves nothing', async () => {
    await bed.end();
  });
});

const linger = '987654';

/** An exec that does not end: it must be gone when its daemon is. */
async function lingerInExec({ bed, down }: Load, [first]: readonly Bystander[]): Promise<void> {
  if (first === undefined) return;
  try {
    await exec(bed, first.container.id, ['sleep', linger], { timeoutSeconds: 0 });
  } catch (error) {
    if (down().aborted) return;
    throw error;
  }
}

async function startBystander(
  bed: Bed,
  name: string,
  network: NamespaceMode,
  pid: NamespaceMode,
): Promise<Bystander> {
  const linux = { securityContext: { namespaceOptions: { network, pid } } };
  const pod = await runPod(bed, name, { linux });
  const script = `echo $$ >/tmp/pid; trap "exit 9" TERM; ${counting}`;
  const container = await runContainer(bed, pod, containerConfig(bed, 'main', script, { linux }));
  return { pod, container, identity: await identityOf(await pidOf(bed, container.id)) };
}

async function checkBystanders(bed: Bed, bystanders: readonly Bystander[]): Promise<void> {
  for (const { container, identity } of bystanders) {
    const { state } = await statusOf(bed, container.id);
    expect(state).to.equal(ContainerState.CONTAINER_RUNNING);
    expect(await identityOf(await pidOf(bed, container.id))).to.equal(identity);
    const { length } = await readTexts(container.log);
    await awaitLog(container.log, (lines) => lines.length > length || undefined);
  }
  expect(await processesWith(linger), 'execs of a daemon that is dead').to.deep.equal([]);
}

async function serveExtraImage(bed: Bed): Promise<string> {
  const layers = await Promise.all(
    [1, 2, 3].map((mark) => buildLayer([{ name: `extra-${mark}`, content: randomBytes(200_000) }])),
  );
  return bed.serve('extra', buildImage({ layers }));
}
