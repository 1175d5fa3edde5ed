import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { setWorkersAside, trimMemory } from '../native/index.js';
import { collectGarbage } from '../runtime/base/garbage.js';
import type { Logger } from '../runtime/base/logger.js';
import { messageOf } from '../runtime/errors.js';
import { type RuntimeOptions, openRuntime } from '../runtime/index.js';
import { type Config, type ConfigSources, loadConfig } from './config.js';
import { CpuRates } from './cpu-rates.js';
import { ContainerEvents } from './events/container-events.js';
import { inspectHost } from './host.js';
import { Journal } from './journal/journal.js';
import { noteChanges } from './journal/observe.js';
import { openLog } from './log.js';
import { reloadOnHangup } from './reload.js';
import type { MetricsOptions } from './metrics/index.js';
import type { Metrics } from './metrics/types.js';
import { type CriServer, serve } from './server.js';
import type { Services } from './services.js';
import { StreamingServer } from './streaming/server.js';
import { UserDatabases } from './user-databases.js';
import { readVersion } from './version.js';

/** Serves until SIGTERM or SIGINT; containers run on. */
export async function runDaemon(sources: ConfigSources): Promise<void> {
  const { config } = await loadConfig(sources);
  const log = openLog({ ...config.log, stream: process.stderr });
  reloadOnHangup(sources, config, log);
  const version = await readVersion();
  log.info('starting', { version, root: config.root, state: config.state, pid: process.pid });
  process.on('unhandledRejection', (reason) => log.error('unhandled rejection', describeMistake(reason)));

  const streaming = await openStreaming(config.streaming, log);
  const events = new ContainerEvents(log);
  const runtime = await openRuntime({
    ...toRuntimeOptions(config, log),
    observe: (objects) => events.observe(objects),
  });
  const services: Services = {
    version,
    runtime,
    config,
    log,
    host: await inspectHost(runtime.cgroups),
    cpuRates: new CpuRates(),
    userDatabases: new UserDatabases(runtime.rootfs),
    events,
    journal: await openJournal(config, log),
    streaming,
    metrics: await openMetrics({ address: config.metrics.address, version, runtime, log }),
  };
  forgetRemoved(services);
  noteChanges(services.journal, runtime, log);
  const server = await serve(services, config.socket).catch(async (error: unknown) => {
    await runtime.close();
    throw error;
  });
  closeOnSignal({ server, services }, config.limits.shutdown_grace_seconds * 1000);
  log.info('ready', { socket: config.socket, startMs: Math.round(performance.now()) });
  // Baseline code at once, from here on: an idle node's daemon runs its paths too seldom for V8 to compile them by
  // itself. What ran until now runs once, and its code would cost 3 MiB.
  setFlagsFromString('--always-sparkplug');
  // Each hop of the thread pool wakes a thread, which would often take the processor from us at once.
  setWorkersAside();
  collectGarbage(trimMemory);
}

async function openJournal({ state }: Config, log: Logger): Promise<Journal> {
  const journal = new Journal(path.join(state, 'journal.jsonl'), log);
  await journal.load();
  return journal;
}

/** Their library is big: whoever does not ask for metrics does without it. */
async function openMetrics(options: MetricsOptions): Promise<Metrics | undefined> {
  if (options.address === '') return undefined;
  const metrics = await import('./metrics/index.js');
  return metrics.openMetrics(options);
}

/** @throws InvalidArgument for a key pair that cannot be used */
async function openStreaming(
  { address, port, tls, cert_file, key_file, idle_timeout_seconds }: Config['streaming'],
  logger: Logger,
): Promise<StreamingServer> {
  const idleTimeoutMs = idle_timeout_seconds * 1000;
  if (tls === 'off') return new StreamingServer({ address, port, idleTimeoutMs, logger });
  const { keyPairsOf, selfSignedPairs } = await import('./streaming/key-pair.js');
  const keyPairs =
    tls === 'files'
      ? await keyPairsOf({ certFile: cert_file, keyFile: key_file }, logger)
      : await selfSignedPairs(address);
  return new StreamingServer({ address, port, keyPairs, idleTimeoutMs, logger });
}

/** What is kept per object here goes when the object does. */
function forgetRemoved({ runtime, cpuRates }: Services): void {
  runtime.containers.subscribe(({ kind, container }) => {
    if (kind === 'removed') cpuRates.forget(container.id);
  });
  runtime.sandboxes.subscribe(({ kind, sandbox }) => {
    if (kind === 'removed') cpuRates.forget(sandbox.id);
  });
}

function closeOnSignal(
  { server, services }: { readonly server: CriServer; readonly services: Services },
  graceMs: number,
): void {
  const { runtime, streaming, journal, log } = services;
  let closing = false;
  const close = async (signal: NodeJS.Signals): Promise<void> => {
    // The second signal is from somebody who does not want to wait.
    if (closing) process.exit(1);
    closing = true;
    log.info('stopping', { signal });
    try {
      services.events.close();
      await server.close(graceMs);
      await streaming.close();
      await services.metrics?.close();
      await runtime.close();
      await journal.close();
      log.info('stopped');
    } catch (error) {
      log.error('stop failed', { error: messageOf(error) });
      process.exitCode = 1;
    }
    // Nothing of ours is left; what libraries keep open must not hold the process.
    process.exit();
  };
  process.on('SIGTERM', (signal) => void close(signal));
  process.on('SIGINT', (signal) => void close(signal));
}

function describeMistake(reason: unknown): { readonly error: string; readonly stack: string | undefined } {
  return { error: messageOf(reason), stack: reason instanceof Error ? reason.stack : undefined };
}

function toRuntimeOptions(
  { root, state, network, registry, image, cgroup, checkpoint, cdi }: Config,
  logger: Logger,
): RuntimeOptions {
  return {
    root,
    state,
    logger,
    network: {
      confDir: network.conf_dir,
      binDirs: network.bin_dirs,
      builtin: network.builtin,
      bridge: network.bridge,
      pools: network.pool,
    },
    registry: {
      configPath: registry.config_path,
      plainHttpLoopback: registry.plain_http_loopback,
      parallelDownloads: registry.parallel_downloads,
      noProgressTimeoutMs: registry.no_progress_timeout_seconds * 1000,
      pinned: image.pinned,
    },
    cgroup,
    checkpoint,
    cdi: { directories: cdi.spec_dirs },
  };
}
