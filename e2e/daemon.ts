import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { access, mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { awaitChange } from './await-change.js';
import { connectCri, type CriClient } from './cri-client.js';
import { eventually } from './eventually.js';
import { enterBox, leftovers, makeBox, removeInstance, type Instance } from './instance.js';
import { cniPlugins, repository, tool } from './places.js';
import { slowness } from './slowness.js';

/**
 * The real daemon on directories, a cgroup parent, a bridge and an address pool of its own, for tests and for whoever
 * wants to try it. KEEP=1 keeps the scratch directory and prints where it is.
 */
export interface DaemonOptions {
  /** Configuration on top of what makes the instance private: `{ 'log.level': 'debug' }`. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
}

const startTimeoutMs = 20_000 * slowness;
const stopTimeoutMs = 20_000 * slowness;

export async function startDaemon(options: DaemonOptions = {}): Promise<Daemon> {
  const daemon = new Daemon(await makeInstance(), options);
  try {
    await daemon.start();
  } catch (error) {
    await daemon.destroy();
    throw error;
  }
  return daemon;
}

async function makeInstance(): Promise<Instance & { readonly pool: string }> {
  // Short: the paths of unix sockets below it may have 108 bytes.
  const scratch = await mkdtemp(path.join(tmpdir(), 'pw-e2e-'));
  const id = path.basename(scratch).replace('pw-e2e-', '');
  await mkdir(path.join(scratch, 'cni'));
  await mkdir(path.join(scratch, 'certs.d'));
  await writeFile(path.join(scratch, 'config.toml'), '');
  const [high = 0, low = 0] = randomBytes(2);
  return {
    scratch,
    root: path.join(scratch, 'root'),
    state: path.join(scratch, 'state'),
    cgroupParent: `/podwright-e2e-${id}`,
    box: await makeBox(`podwright-e2e-${id}-daemon`),
    bridge: `pwe-${id}`,
    pool: `10.${200 + (high % 50)}.${low}.0/24`,
  };
}

export class Daemon implements AsyncDisposable {
  readonly socket: string;
  readonly log: string;
  /** Where to put REGISTRY/hosts.toml. */
  readonly hostsDirectory: string;
  /** Empty: the built-in network. A CNI configuration put here is used instead. */
  readonly cniDirectory: string;
  readonly #options: DaemonOptions;
  #process: ChildProcess | undefined;
  #client: CriClient | undefined;
  #destroyed = false;

  constructor(
    readonly instance: Instance & { readonly pool: string },
    options: DaemonOptions,
  ) {
    this.#options = options;
    this.socket = path.join(instance.scratch, 'cri.sock');
    this.log = path.join(instance.scratch, 'daemon.log');
    this.hostsDirectory = path.join(instance.scratch, 'certs.d');
    this.cniDirectory = path.join(instance.scratch, 'cni');
  }

  get pid(): number {
    if (this.#process?.pid === undefined) throw new Error('the daemon is not running');
    return this.#process.pid;
  }

  /** A client of the running daemon, made at the first use after each start. */
  get client(): CriClient {
    this.#client ??= connectCri(this.socket);
    return this.#client;
  }

  /** Starts the daemon, or starts it again, and resolves when it accepts connections. */
  async start(env: Readonly<Record<string, string>> = {}): Promise<void> {
    const { box } = this.instance;
    // The old one would wait a while before it connects again.
    this.#client?.close();
    this.#client = undefined;
    const log = await open(this.log, 'a');
    const program = path.join(repository, 'hack/podwright');
    const child = spawn('/bin/sh', ['-c', enterBox, 'sh', box, program, ...this.#arguments()], {
      stdio: ['ignore', log.fd, log.fd],
      env: { ...process.env, ...this.#options.env, ...env },
      cwd: '/',
    });
    this.#process = child;
    await log.close();
    const abort = new AbortController();
    const timer = setTimeout(() => {
      abort.abort(new Error(`it did not accept connections within ${startTimeoutMs} ms`));
    }, startTimeoutMs);
    const ended = once(child, 'exit', { signal: abort.signal });
    try {
      const accepted = accepting(this.socket, abort.signal);
      const first = await Promise.race([accepted.then(() => 'accepting'), ended.then(() => 'ended')]);
      if (first === 'ended') throw new Error('the daemon ended before it accepted connections');
    } catch (error) {
      child.kill('SIGKILL');
      throw new Error(`starting the daemon failed, its log says:\n${await this.readLog()}`, { cause: error });
    } finally {
      clearTimeout(timer);
      abort.abort();
      ended.catch(() => undefined);
    }
  }

  /** Waits for the end of a daemon that kills itself. */
  async ended(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    await once(child, 'exit', { signal: AbortSignal.timeout(stopTimeoutMs) });
  }

  /** SIGTERM; containers run on. Resolves with the exit code. */
  async stop(): Promise<number | null> {
    return this.#end('SIGTERM');
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Starts it and kills it after a while, whether it has got as far as to accept connections or not. */
  async startAndKill(afterMs: number): Promise<void> {
    const started = this.start().then(
      () => undefined,
      () => undefined,
    );
    await delay(afterMs);
    await this.kill();
    await started;
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async readLog(): Promise<string> {
    return readFile(this.log, 'utf8').catch(() => '');
  }

  /** Stops and removes every pod and image. */
  async removeAll(): Promise<void> {
    const { runtime, image } = this.client;
    const { items } = await runtime.listPodSandbox();
    for (const { id } of items) {
      await runtime.stopPodSandbox({ podSandboxId: id });
      await runtime.removePodSandbox({ podSandboxId: id });
    }
    const { images } = await image.listImages();
    for (const { id } of images) await image.removeImage({ image: { image: id } });
  }

  /** What the instance still owns besides the running daemon. */
  async leftovers(): Promise<readonly string[]> {
    return leftovers(this.instance, this.#process?.pid);
  }

  /**
   * Removes every pod, stops the daemon and checks that nothing of the instance is left. Cleans up in any case.
   *
   * @throws Error naming what was left
   */
  async end(): Promise<void> {
    try {
      if (this.#process !== undefined) {
        await this.removeAll();
        const code = await this.stop();
        if (code !== 0) throw new Error(`the daemon ended with ${code} after SIGTERM`);
      }
      // The kernel takes the interfaces of a namespace down in its own time.
      const left = await eventually(
        () => this.leftovers(),
        (names) => names.length === 0,
      );
      if (left.length > 0) throw new Error(`left behind:\n${left.join('\n')}`);
    } finally {
      await this.destroy();
    }
  }

  /** Ends everything and cleans up, without any check. May be repeated. */
  async destroy(): Promise<void> {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#client?.close();
    if (this.#process !== undefined) await this.kill();
    await removeInstance(this.instance);
    if (process.env['KEEP'] === '1') console.log(`kept ${this.instance.scratch}`);
    else await rm(this.instance.scratch, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.destroy();
  }

  #arguments(): readonly string[] {
    const { scratch, root, state, cgroupParent, bridge, pool } = this.instance;
    const settings: Readonly<Record<string, string>> = {
      'cgroup.parent': cgroupParent,
      'network.builtin': 'true',
      'network.bridge': bridge,
      'network.pool': pool,
      'network.conf_dir': this.cniDirectory,
      'network.bin_dirs': cniPlugins,
      'registry.config_path': this.hostsDirectory,
      'checkpoint.criu': tool('criu'),
      ...this.#options.settings,
    };
    return [
      'serve',
      ...['--config', path.join(scratch, 'config.toml')],
      ...['--root', root, '--state', state, '--socket', this.socket],
      ...Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]),
    ];
  }

  async #end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined) throw new Error('the daemon is not running');
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const ended = once(child, 'exit', { signal: AbortSignal.timeout(stopTimeoutMs) });
    child.kill(signal);
    try {
      await ended;
    } catch (error) {
      child.kill('SIGKILL');
      throw new Error(`the daemon did not end within ${stopTimeoutMs} ms of ${signal}`, { cause: error });
    }
    return child.exitCode;
  }
}

/** Resolves once something accepts connections on the socket. */
async function accepting(socket: string, signal: AbortSignal): Promise<void> {
  const look = async (): Promise<true | undefined> => {
    while (!(await accepts(socket))) {
      if (!(await exists(socket))) return undefined;
      // A file that refuses is bound but does not listen yet, or is what a killed daemon left: both last a moment.
      await delay(5, undefined, { signal });
    }
    return true;
  };
  await awaitChange(path.dirname(socket), look, signal);
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

function accepts(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = net.connect(socket);
    connection.once('connect', () => {
      connection.destroy();
      resolve(true);
    });
    connection.once('error', () => resolve(false));
  });
}
