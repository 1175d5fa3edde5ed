import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { printReport, type SpecResult } from '../critest-report.js';
import { startDaemon } from '../daemon.js';
import { writeHostsDirectory } from '../fixtures/hosts-directory.js';
import { startImageServer, type ImageServer } from '../fixtures/image-server.js';
import { startContainerd } from '../kubelet/containerd.js';
import { buildPause } from '../kubelet/images.js';
import { repository } from '../places.js';
import { serveNodeImages } from './images.js';
import { prepareBed, runPart, type Bed, type Part } from './suite.js';

/**
 * Runs Kubernetes' node conformance suite (test/e2e_node) against a daemon of our own, with the images that it names built
 * here and served on loopback.
 *
 *     npm run e2e:node                                  what is marked [NodeConformance]
 *     npm run e2e:node -- --all --focus 'Probing'       specs by regular expression, also those of skip.json
 *     npm run e2e:node -- --containerd                  over containerd and runc, for comparison
 */
interface Options {
  readonly all: boolean;
  readonly containerd: boolean;
  /** Regular expression. */
  readonly focus: string;
  /** One part alone: parallel or serial. */
  readonly part: string | undefined;
  /** How many specs run at once, of those that bear company. */
  readonly processes: string;
}

type SkipList = Readonly<Record<string, readonly string[]>>;

async function main(): Promise<void> {
  const options = parseOptions();
  const skipList = options.all ? {} : await readSkipList();
  await using server = await startImageServer();
  await serveNodeImages(server);
  const artifacts = path.join(repository, 'dist/node-conformance');
  const results = await withRuntime(options, server, (runtime) =>
    runSuite({ ...runtime, artifacts }, options, Object.values(skipList).flat()),
  );
  report(results, skipList);
}

function parseOptions(): Options {
  const { values } = parseArgs({
    options: {
      all: { type: 'boolean', default: false },
      containerd: { type: 'boolean', default: false },
      focus: { type: 'string', default: String.raw`\[NodeConformance\]` },
      part: { type: 'string' },
      processes: { type: 'string', default: '6' },
    },
  });
  return { ...values, part: values.part };
}

/** What stands in the way → parts of the names of the specs that it concerns. */
async function readSkipList(): Promise<SkipList> {
  return JSON.parse(await readFile(path.join(repository, 'e2e/node/skip.json'), 'utf8')) as SkipList;
}

async function withRuntime<T>(
  { containerd }: Options,
  server: ImageServer,
  use: (runtime: Omit<Bed, 'artifacts'>) => Promise<T>,
): Promise<T> {
  if (containerd) {
    server.add('test/pause', '1', await buildPause());
    const other = await startContainerd(server.host);
    const result = await use(other);
    await other.end();
    return result;
  }
  // A handler that specs take to be there.
  await using daemon = await startDaemon({ settings: { 'runtime.handlers.test-handler': '{}' } });
  await writeHostsDirectory(daemon.hostsDirectory, server.host);
  const { scratch, box } = daemon.instance;
  const result = await use({ scratch, box, socket: daemon.socket });
  await daemon.end();
  return result;
}

/** The specs that bear company first, then the others one by one. */
async function runSuite(
  bed: Bed,
  { focus, part: chosen, processes }: Options,
  skipped: readonly string[],
): Promise<readonly SpecResult[]> {
  await prepareBed(bed);
  const skip = skipped.map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`));
  const parts: readonly Part[] = [
    { name: 'parallel', processes, focus: [focus], skip: [String.raw`\[Serial\]`, ...skip] },
    { name: 'serial', processes: '1', focus: [`(?:${focus}).*${serial}`, `${serial}.*(?:${focus})`], skip },
  ];
  const results: SpecResult[] = [];
  for (const part of parts.filter(({ name }) => chosen === undefined || name === chosen))
    results.push(...(await runPart(part, bed)));
  return results;
}

const serial = String.raw`\[Serial\]`;

/** Every spec is in both reports: one that a part leaves out without a reason is the other's, or nobody's. */
function report(results: readonly SpecResult[], skipList: SkipList): void {
  const reasons = new Map<string, string>();
  for (const [reason, texts] of Object.entries(skipList))
    for (const { name } of results)
      if (texts.some((text) => name.includes(text))) reasons.set(name, `needs ${reason}`);
  const chosen = results.filter(
    ({ name, outcome, message }, index) =>
      outcome !== 'skipped' ||
      message !== '' ||
      (reasons.has(name) &&
        name.includes('[NodeConformance]') &&
        index === results.findIndex((other) => other.name === name)),
  );
  printReport(chosen, reasons);
  if (chosen.length === 0 || chosen.some(({ outcome }) => outcome === 'failed')) process.exitCode = 1;
}

await main();
