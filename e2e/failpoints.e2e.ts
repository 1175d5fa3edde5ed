import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { strays } from './audit.js';
import {
  type Bed,
  type Pod,
  containerConfig,
  createContainer,
  exitOf,
  openBed,
  podConfig,
  removePod,
  runContainer,
  runPod,
  statusOf,
} from './bed.js';
import { buildImage, buildLayer } from './fixtures/image-builder.js';
import { repository } from './places.js';

/** What passes a failpoint. */
type Operation = 'run' | 'create' | 'start' | 'remove' | 'pull' | 'remove image';

const operationOf: Readonly<Record<string, Operation>> = {
  'sandbox.run.after-intent': 'run',
  'sandbox.run.after-record': 'run',
  'sandbox.run.after-cgroup': 'run',
  'sandbox.run.after-pause': 'run',
  'sandbox.run.after-network': 'run',
  'container.create.after-intent': 'create',
  'container.create.after-record': 'create',
  'snapshot.prepare.after-directories': 'create',
  'container.create.after-parts': 'create',
  'container.create.after-monitor': 'create',
  'container.start.after-release': 'start',
  'container.remove.after-cgroup': 'remove',
  'snapshot.remove.before-record': 'remove',
  'container.remove.after-snapshot': 'remove',
  'snapshot.unpack.after-mkdir': 'pull',
  'snapshot.commit.before-rename': 'pull',
  'snapshot.commit.after-rename': 'pull',
  'snapshot.reap.after-rename': 'remove image',
};

/** Garbage of an image that is gone already: the call succeeds, the next start does what is left. */
const isGarbage = (point: string): boolean => point === 'snapshot.reap.after-rename';

const operationNames = [...new Set(Object.values(operationOf))];

function failpointsOf(operation: Operation): readonly string[] {
  return Object.keys(operationOf).filter((point) => operationOf[point] === operation && !isUndo(point));
}

/** Passed by the undo of a failed creation too, which then leaves the rest to the next start: tried alone. */
const isUndo = (point: string): boolean => point === 'snapshot.remove.before-record';

interface Tried {
  readonly operation: Operation;
  readonly point: string;
}

/** One start tries a failpoint of each operation. */
function failingRounds(): readonly (readonly Tried[])[] {
  const count = Math.max(...operationNames.map((operation) => failpointsOf(operation).length));
  const rounds = Array.from({ length: count }, (_, round) =>
    operationNames.flatMap((operation) =>
      failpointsOf(operation)
        .slice(round, round + 1)
        .map((point) => ({ operation, point })),
    ),
  );
  const alone = Object.entries(operationOf).filter(([point]) => isUndo(point));
  return [...rounds, ...alone.map(([point, operation]) => [{ operation, point }])];
}

const hostPort = 28_081;

/**
 * At each of its failpoints the daemon is killed, or fails: afterwards nothing is half made, nothing is left over, and
 * the same call succeeds.
 */
describe('at a failpoint', function () {
  this.timeout(60_000);
  let bed: Bed;
  let pod: Pod;
  const images = new Map<string, string>();

  before(async () => {
    bed = await openBed();
    pod = await runPod(bed, 'steady');
    for (const name of ['pulled', 'removed']) {
      const layer = await buildLayer([{ name, content: `${name}\n` }]);
      images.set(name, bed.serve(name, buildImage({ layers: [layer] })));
    }
  });
  after(async () => {
    await bed?.end();
  });

  it('every one there is is tried', async () => {
    expect(Object.keys(operationOf).sort()).to.deep.equal([...(await failpointsOfSource())].sort());
  });

  for (const [point, operation] of Object.entries(operationOf)) {
    it(`${point} killed`, async () => {
      const { daemon } = bed;
      const perform = await operations(bed, pod, images)[operation]();
      await daemon.stop();
      await daemon.start({ FAILPOINTS: `${point}=crash` });
      expect((await refusal(perform(), point)).code).to.equal(status.UNAVAILABLE);
      await daemon.ended();
      await daemon.start();
      await checkRecovered(bed, pod, [{ operation, perform }]);
    });
  }

  for (const tried of failingRounds()) {
    it(`${tried.map(({ point }) => point).join(', ')} failing`, async () => {
      const { daemon } = bed;
      const prepare = operations(bed, pod, images);
      const calls: Call[] = [];
      for (const { operation } of tried) calls.push({ operation, perform: await prepare[operation]() });
      await daemon.stop();
      await daemon.start({ FAILPOINTS: tried.map(({ point }) => `${point}=error`).join() });
      for (const [index, { point }] of tried.entries()) {
        if (isGarbage(point)) {
          await calls[index]?.perform();
          continue;
        }
        const failure = await refusal(calls[index]?.perform() ?? Promise.resolve(), point);
        expect(failure.code, failure.details).to.equal(status.INTERNAL);
        expect(failure.details).to.contain(point);
      }
      if (!tried.some(({ point }) => isGarbage(point))) expect(await strays(bed)).to.deep.equal([]);
      await daemon.restart();
      await checkRecovered(bed, pod, calls);
    });
  }
});

interface Call {
  readonly operation: Operation;
  readonly perform: () => Promise<unknown>;
}

/** Nothing is left over, and the same calls succeed. */
async function checkRecovered(bed: Bed, pod: Pod, calls: readonly Call[]): Promise<void> {
  expect(await strays(bed)).to.deep.equal([]);
  for (const { operation, perform } of calls) await repeat(operation, perform);
  await tidy(bed, pod);
  expect(await strays(bed)).to.deep.equal([]);
}

/** Each makes what its call needs, and gives the call: again and again the same. */
function operations(
  bed: Bed,
  pod: Pod,
  images: ReadonlyMap<string, string>,
): Readonly<Record<Operation, () => Promise<() => Promise<unknown>>>> {
  const calls = () => bed.daemon.client;
  const imageOf = (name: string) => ({ image: images.get(name) ?? '' });
  const ports = { portMappings: [{ containerPort: 80, hostPort }] };
  return {
    run: async () => () => calls().runtime.runPodSandbox({ config: podConfig(bed, 'tried', ports) }),
    create: async () => () => createContainer(bed, pod, containerConfig(bed, 'tried', 'exit 7')),
    start: async () => {
      const { id: containerId } = await createContainer(bed, pod, containerConfig(bed, 'to-start', 'exit 7'));
      return () => calls().runtime.startContainer({ containerId });
    },
    remove: async () => {
      const { id: containerId } = await runContainer(
        bed,
        pod,
        containerConfig(bed, 'to-remove', 'echo x >/file; exit 7'),
      );
      await exitOf(bed, containerId);
      return () => calls().runtime.removeContainer({ containerId });
    },
    pull: async () => () => calls().image.pullImage({ image: imageOf('pulled') }),
    'remove image': async () => {
      await calls().image.pullImage({ image: imageOf('removed') });
      return () => calls().image.removeImage({ image: imageOf('removed') });
    },
  };
}

/** The call that was interrupted succeeds now; a start that was interrupted may have happened already. */
async function repeat(operation: Operation, perform: () => Promise<unknown>): Promise<void> {
  try {
    await perform();
  } catch (error) {
    if (operation === 'start' && (error as Refusal).code === status.FAILED_PRECONDITION) return;
    throw error;
  }
}

/** Back to the one steady pod, with what its containers say of their end. */
async function tidy(bed: Bed, steady: Pod): Promise<void> {
  const { runtime, image } = bed.daemon.client;
  const { containers } = await runtime.listContainers();
  for (const { id: containerId, state } of containers) {
    const started = (await statusOf(bed, containerId)).startedAt > 0n;
    if (started) expect(await exitOf(bed, containerId), `state ${state}`).to.include({ exitCode: 7 });
    await runtime.removeContainer({ containerId });
  }
  const { items } = await runtime.listPodSandbox();
  for (const { id } of items) if (id !== steady.id) await removePod(bed, { ...steady, id });
  const { images } = await image.listImages();
  for (const { id, repoTags } of images)
    if (!repoTags.includes(bed.image)) await image.removeImage({ image: { image: id } });
}

interface Refusal {
  readonly code: status;
  readonly details: string;
}

async function refusal(call: Promise<unknown>, point: string): Promise<Refusal> {
  try {
    await call;
  } catch (error) {
    return error as Refusal;
  }
  throw new Error(`the call has passed ${point} and not failed`);
}

/** Every name that the runtime's source passes to failpoint(). */
async function failpointsOfSource(): Promise<ReadonlySet<string>> {
  const runtime = path.join(repository, 'runtime');
  const files = (await readdir(runtime, { recursive: true })).filter((name) => /(?<!\.test)\.ts$/.test(name));
  const found = new Set<string>();
  for (const file of files) {
    const source = await readFile(path.join(runtime, file), 'utf8');
    for (const [, name = ''] of source.matchAll(/\bfailpoint\('([^']+)'\)/g)) found.add(name);
  }
  return found;
}
