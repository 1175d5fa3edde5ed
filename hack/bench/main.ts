import { writeFile } from 'node:fs/promises';
import { cpus, release } from 'node:os';
import { parseArgs } from 'node:util';
import { buildBusyboxImage, busyboxLayer, debianBusybox, path } from '../../e2e/fixtures/busybox-image.js';
import { buildImage, type BuiltImage } from '../../e2e/fixtures/image-builder.js';
import { pushImage, startRegistry } from '../../e2e/fixtures/registry.js';
import { buildBigImage } from './big-image.js';
import { measure } from './measure.js';
import { printTable } from './report.js';
import { startContainerd, startPodwright } from './runtimes.js';

/**
 * Measures Podwright and containerd + runc in turns on this machine and prints ratios.
 *
 *     npm run bench                       both, full size
 *     npm run bench -- --quick            a fifth of the size
 *     npm run bench -- --only podwright   no comparison
 *     npm run bench -- --json FILE        also as JSON (default bench.json in the cache's folder is not written)
 */
const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    json: { type: 'string' },
  },
});

const scale = values.quick
  ? { lives: 12, standing: 20, burst: 20 }
  : { lives: 60, standing: 100, burst: 100 };

async function main(): Promise<void> {
  await using registry = await startRegistry();
  const repository = 'library/busybox';
  await pushImage(await buildBusyboxImage(), { host: registry.host, repository, tag: 'latest' });
  await pushImage(await buildPauseImage(), { host: registry.host, repository, tag: 'pause' });
  await pushImage(await buildBigImage(), { host: registry.host, repository: 'bench/big', tag: 'latest' });

  const wanted = (name: string): boolean => values.only === undefined || values.only === name;
  await using containerd = wanted('containerd') ? await startContainerd(registry.host) : undefined;
  await using podwright = wanted('podwright') ? await startPodwright(registry.host) : undefined;
  const runtimes = [containerd, podwright].filter((runtime) => runtime !== undefined);
  process.stderr.write(`measuring ${runtimes.map(({ name }) => name).join(' and ')}\n`);
  const results = await measure(runtimes, scale, 'docker.io/bench/big:latest');
  process.stdout.write(`${cpus().length} cores, ${cpus()[0]?.model ?? ''}, Linux ${release()}\n`);
  process.stdout.write(
    'containerd 2.4.2 with runc 1.5.2; igzip and unpigz are in its PATH where installed\n\n',
  );
  process.stdout.write(printTable(results));
  if (values.json !== undefined)
    await writeFile(values.json, JSON.stringify(Object.fromEntries(results), null, 2));
}

/** What containerd's sandboxes run; Podwright needs none. Its process counts as workload, in containerd's favour. */
async function buildPauseImage(): Promise<BuiltImage> {
  return buildImage({
    layers: [await busyboxLayer(debianBusybox)],
    config: { Cmd: ['sleep', '1000000'], Env: [path] },
  });
}

await main();
