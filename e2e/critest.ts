import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { printReport, readReport, type SpecResult } from './critest-report.js';
import { startDaemon } from './daemon.js';
import { writeHostsDirectory } from './fixtures/hosts-directory.js';
import { startRegistry } from './fixtures/registry.js';
import { buildTestImages, digestRepository, pushTestImages, type TestImage } from './fixtures/test-images.js';
import { imagePrograms, repository, tool } from './places.js';
import { slowness } from './slowness.js';
import { removeNewSegments, unusedSegments } from './shared-memory.js';

/**
 * Runs the CRI validation suite (critest) against a daemon of our own, with every image it names built here and served
 * from a registry on loopback.
 *
 *     npm run critest                                what Podwright should pass today
 *     npm run critest -- --all --focus 'Streaming'   specs by regular expression, also those of critest-skip.json
 *     npm run critest -- --endpoint /run/containerd/containerd.sock --hosts-directory DIR    another runtime
 */
const usage = 'critest [--all] [--focus REGEX] [--endpoint SOCKET --hosts-directory DIR] [-- ARGUMENT…]';

interface Options {
  readonly all: boolean;
  readonly focus: string | undefined;
  readonly endpoint: string | undefined;
  readonly hostsDirectory: string | undefined;
  /** Passed on to critest. */
  readonly passedOn: readonly string[];
}

/** The image that one spec names by a digest which only the public registry has: ours stands in for it. */
const publicDigest = '9700f9a2f5bf2c45f2f605a0bd3bce7cf37420ec9d3ed50ac2758413308766bf';

async function main(): Promise<void> {
  const options = parseOptions();
  const images = await buildTestImages(imagePrograms);
  await using registry = await startRegistry();
  await pushTestImages(images, registry.host);
  const results = await withRuntime(options, registry.host, (endpoint) =>
    runSuite(endpoint, images, options),
  );
  const reasons = skipReasons(results, await skipList(options));
  // What --focus leaves out has no reason at all.
  const chosen = results.filter(
    ({ name, outcome, message }) => outcome !== 'skipped' || message !== '' || reasons.has(name),
  );
  printReport(options.focus === undefined ? results : chosen, reasons);
  if (results.length === 0 || results.some(({ outcome }) => outcome === 'failed')) process.exitCode = 1;
}

function parseOptions(): Options {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      all: { type: 'boolean', default: false },
      focus: { type: 'string' },
      endpoint: { type: 'string' },
      'hosts-directory': { type: 'string' },
    },
  });
  if ((values.endpoint === undefined) !== (values['hosts-directory'] === undefined)) throw new Error(usage);
  return {
    all: values.all,
    focus: values.focus,
    endpoint: values.endpoint,
    hostsDirectory: values['hosts-directory'],
    passedOn: positionals,
  };
}

/** Calls `use` with the socket of the given runtime, or of a daemon that is started for it and must leave nothing. */
async function withRuntime<T>(
  { endpoint, hostsDirectory }: Options,
  registry: string,
  use: (endpoint: string) => Promise<T>,
): Promise<T> {
  if (endpoint !== undefined && hostsDirectory !== undefined) {
    await writeHostsDirectory(hostsDirectory, registry);
    return use(endpoint);
  }
  await using daemon = await startDaemon({ settings: { 'log.level': 'debug' } });
  await writeHostsDirectory(daemon.hostsDirectory, registry);
  const result = await use(daemon.socket);
  await daemon.end();
  return result;
}

async function runSuite(
  endpoint: string,
  images: readonly TestImage[],
  options: Options,
): Promise<readonly SpecResult[]> {
  const scratch = await mkdtemp(path.join(tmpdir(), 'pw-critest-'));
  const segments = await unusedSegments();
  try {
    const program = await patchedSuite(scratch, images);
    const report = path.join(scratch, 'report.json');
    const log = path.join(repository, 'dist/critest.log');
    await critest(program, { scratch, log, args: await suiteArguments(endpoint, report, options) });
    console.log(`critest's own output: ${log}`);
    return await readReport(report);
  } finally {
    await removeNewSegments(segments);
    await rm(scratch, { recursive: true, force: true });
  }
}

/** A copy of the suite in which the digest is that of our image. Nothing else is changed. */
async function patchedSuite(scratch: string, images: readonly TestImage[]): Promise<string> {
  const own = images.find((image) => image.repository === digestRepository)?.image.manifest.digest;
  if (own === undefined) throw new Error(`${digestRepository} was not built`);
  const original = await readFile(tool('critest'));
  const digest = Buffer.from(own.replace('sha256:', ''));
  const places: number[] = [];
  for (let at = original.indexOf(publicDigest); at >= 0; at = original.indexOf(publicDigest, at + 1))
    places.push(at);
  if (places.length === 0) throw new Error('this critest does not name the digest that is to be replaced');
  for (const at of places) digest.copy(original, at);
  const program = path.join(scratch, 'critest');
  await writeFile(program, original, { mode: 0o755 });
  console.log(`critest with test-image-digest@sha256:${publicDigest.slice(0, 12)}… replaced by ${own}`);
  return program;
}

async function suiteArguments(
  endpoint: string,
  report: string,
  options: Options,
): Promise<readonly string[]> {
  const skipped = Object.values(await skipList(options)).flat();
  return [
    ...['-runtime-endpoint', `unix://${endpoint}`, '-image-endpoint', `unix://${endpoint}`],
    ...['-ginkgo.json-report', report, '-ginkgo.no-color', '-ginkgo.timeout', `${20 * slowness}m`],
    ...(options.focus === undefined ? [] : ['-ginkgo.focus', options.focus]),
    ...skipped.flatMap((prefix) => ['-ginkgo.skip', prefix.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')]),
    ...options.passedOn,
  ];
}

/** Its exit code says no more than the report, unless there is none. */
async function critest(
  program: string,
  {
    scratch,
    log,
    args,
  }: { readonly scratch: string; readonly log: string; readonly args: readonly string[] },
): Promise<void> {
  // The suite puts log directories and volumes into the temporary directory and forgets some of them.
  const temporary = path.join(scratch, 'tmp');
  await mkdir(temporary);
  const output = await open(log, 'w');
  const child = spawn(program, args, {
    cwd: scratch,
    env: { ...process.env, TMPDIR: temporary },
    stdio: ['ignore', output.fd, output.fd],
  });
  await output.close();
  await once(child, 'exit');
}

type SkipList = Readonly<Record<string, readonly string[]>>;

/** What the product lacks → beginnings of the names of the specs that need it. */
async function skipList({ all }: Options): Promise<SkipList> {
  if (all) return {};
  return JSON.parse(await readFile(path.join(repository, 'e2e/critest-skip.json'), 'utf8')) as SkipList;
}

function skipReasons(results: readonly SpecResult[], list: SkipList): ReadonlyMap<string, string> {
  const reasons = new Map<string, string>();
  for (const [reason, prefixes] of Object.entries(list)) {
    for (const { name } of results)
      if (prefixes.some((prefix) => name.startsWith(prefix))) reasons.set(name, `needs ${reason}`);
  }
  return reasons;
}

await main();
