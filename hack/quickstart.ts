import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { awaitChange } from '../e2e/await-change.js';
import type { CriClient } from '../e2e/cri-client.js';
import { startDaemon } from '../e2e/daemon.js';
import { buildBusyboxImage } from '../e2e/fixtures/busybox-image.js';
import { writeHostsDirectory } from '../e2e/fixtures/hosts-directory.js';
import { startImageServer, type ImageServer } from '../e2e/fixtures/image-server.js';
import { NamespaceMode } from '../protos/gen/cri/runtime/v1/api.js';

/**
 * The shortest tour of Podwright: a daemon on scratch directories, an image built here and pulled from a registry on
 * loopback (or the image named on the command line, from its own registry), a pod, its log, an exec, its figures, and
 * everything removed again.
 */
async function main(): Promise<void> {
  const named = process.argv[2];
  await using daemon = await timed('start the daemon', () => startDaemon());
  await using registry =
    named === undefined ? await timed('build and serve an image', serveImage) : undefined;
  if (registry !== undefined) await writeHostsDirectory(daemon.hostsDirectory, registry.host, []);
  const logDirectory = path.join(daemon.instance.scratch, 'logs');
  await mkdir(logDirectory);
  await tour(daemon.client, {
    image: named ?? `${registry?.host}/${repository}:${tag}`,
    args: named === undefined ? ['sh', '-c', greeting] : [],
    logDirectory,
  });
  await timed('stop the daemon, look for leftovers', () => daemon.end());
  printTimes();
}

const repository = 'podwright/quickstart';
const tag = '1';
const greeting =
  'echo "hello from $(hostname), pid $$, uid $(id -u)"; echo "on Linux $(uname -r)"; exec sleep 600';

async function serveImage(): Promise<ImageServer> {
  const server = await startImageServer();
  server.add(repository, tag, await buildBusyboxImage());
  return server;
}

interface Tour {
  readonly image: string;
  readonly args: readonly string[];
  readonly logDirectory: string;
}

async function tour(
  { runtime, image: images }: CriClient,
  { image, args, logDirectory }: Tour,
): Promise<void> {
  const spec = { image };
  await timed(`pull ${image}`, () => images.pullImage({ image: spec }, { timeoutMs: 600_000 }));
  const config = {
    metadata: { name: 'quickstart', namespace: 'default', uid: 'quickstart-1', attempt: 0 },
    hostname: 'quickstart',
    logDirectory,
    linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } } },
  };
  const { podSandboxId } = await timed('run the pod', () => runtime.runPodSandbox({ config }));
  const container = {
    metadata: { name: 'main', attempt: 0 },
    image: spec,
    args: [...args],
    logPath: 'main.log',
  };
  const { containerId } = await timed('create the container', () =>
    runtime.createContainer({ podSandboxId, config: container, sandboxConfig: config }),
  );
  await timed('start the container', () => runtime.startContainer({ containerId }));

  const log = await timed('wait for its log', () => readContainerLog(path.join(logDirectory, 'main.log')));
  show('log', log);
  await exec(runtime, containerId);
  await figures(runtime, { podSandboxId, containerId });

  await timed('stop the container', () => runtime.stopContainer({ containerId, timeout: 0n }));
  await timed('remove the container', () => runtime.removeContainer({ containerId }));
  await timed('stop the pod', () => runtime.stopPodSandbox({ podSandboxId }));
  await timed('remove the pod', () => runtime.removePodSandbox({ podSandboxId }));
  await timed('remove the image', () => images.removeImage({ image: spec }));
}

/** The lines of the log, without the CRI's time and stream columns, as soon as there are any. */
async function readContainerLog(file: string): Promise<string> {
  const signal = AbortSignal.timeout(5000);
  const read = async (): Promise<string | undefined> => {
    const text = await readFile(file, 'utf8').catch(() => '');
    return text === '' ? undefined : text;
  };
  const text = await awaitChange(path.dirname(file), read, signal).catch((error: unknown) => {
    // A container that says nothing is no failure.
    if (signal.aborted) return '(nothing within five seconds)';
    throw error;
  });
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line) => line.replace(/^\S+ (stdout|stderr) [PF] /, '')).join('\n');
}

type Runtime = CriClient['runtime'];

async function exec(runtime: Runtime, containerId: string): Promise<void> {
  const cmd = [
    'sh',
    '-c',
    'echo "$(ls -d /proc/[0-9]* | wc -l) processes, root file system:"; df -h / | tail -n 1',
  ];
  try {
    const { stdout, stderr, exitCode } = await timed('exec', () =>
      runtime.execSync({ containerId, cmd, timeout: 10n }),
    );
    show(`exec, exit code ${exitCode}`, `${Buffer.from(stdout).toString()}${Buffer.from(stderr).toString()}`);
  } catch (error) {
    // A container that has ended already, or has no shell.
    show('exec', error instanceof Error ? error.message : String(error));
  }
}

async function figures(
  runtime: Runtime,
  { podSandboxId, containerId }: { readonly podSandboxId: string; readonly containerId: string },
): Promise<void> {
  const { status } = await runtime.podSandboxStatus({ podSandboxId });
  const { stats } = await timed('read its figures', () => runtime.containerStats({ containerId }));
  const cpuMs = Number(stats?.cpu?.usageCoreNanoSeconds?.value ?? 0n) / 1e6;
  const memoryKib = Number(stats?.memory?.workingSetBytes?.value ?? 0n) / 1024;
  const writtenBytes = Number(stats?.writableLayer?.usedBytes?.value ?? 0n);
  show(
    'figures',
    [
      `address ${status?.network?.ip || 'none'}`,
      `CPU ${cpuMs.toFixed(1)} ms, memory ${memoryKib.toFixed(0)} KiB, writable layer ${writtenBytes} bytes`,
    ].join('\n'),
  );
}

function show(title: string, text: string): void {
  console.log(`\n${title}\n${text.trimEnd().replace(/^/gm, '  ')}`);
}

interface Step {
  readonly name: string;
  readonly ms: number;
}

const steps: Step[] = [];

async function timed<T>(name: string, work: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const result = await work();
  steps.push({ name, ms: performance.now() - start });
  return result;
}

function printTimes(): void {
  const width = Math.max(...steps.map(({ name }) => name.length));
  const rows = steps.map(({ name, ms }) => `  ${name.padEnd(width)}${ms.toFixed(1).padStart(9)} ms`);
  console.log(`\ntimes\n${rows.join('\n')}`);
}

await main();
