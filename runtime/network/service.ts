import { mkdir } from 'node:fs/promises';
import { RuntimeError, messageOf } from '../errors.js';
import { BuiltinNetwork, type BuiltinOptions } from './builtin/network.js';
import { CniNetwork } from './cni/network.js';
import { openConfigDirectory, type ConfigDirectory } from './cni/config-directory.js';
import type { NetworkAttachment, NetworkRequest, NetworkService, PreparedNetwork } from './types.js';
import type { Logger } from '../base/logger.js';

export interface NetworkOptions {
  readonly confDir: string;
  readonly binDirs: readonly string[];
  readonly cacheDir: string;
  /** The bridge network of our own where the conf directory holds nothing; undefined: it is switched off. */
  readonly builtin: Omit<BuiltinOptions, 'logger'> | undefined;
  readonly logger: Logger;
}

/** Opens the node's pod network: CNI where the conf directory has a usable list, else the built-in bridge. */
export async function openNetwork(options: NetworkOptions): Promise<NetworkService> {
  const { logger } = options;
  await mkdir(options.cacheDir, { recursive: true, mode: 0o700 });
  const directory = await openConfigDirectory(options.confDir, logger);
  return new PodNetworks(
    directory,
    new CniNetwork(options),
    options.builtin && new BuiltinNetwork({ ...options.builtin, logger }),
    logger,
  );
}

/** How long the answer of the plugins' STATUS is good for: the kubelet asks every five seconds. */
const STATUS_TTL_MS = 10_000;

class PodNetworks implements NetworkService {
  private lastStatus:
    { readonly atMs: number; readonly generation: number; readonly problem: string | undefined } | undefined;

  constructor(
    private readonly directory: ConfigDirectory,
    private readonly cni: CniNetwork,
    private readonly builtin: BuiltinNetwork | undefined,
    private readonly logger: Logger,
  ) {}

  async status(): Promise<{ ready: boolean; reason: string; message: string }> {
    const problem = await this.problem();
    if (problem === undefined) return { ready: true, reason: '', message: '' };
    return { ready: false, reason: 'NetworkPluginNotReady', message: problem };
  }

  async prepare(request: NetworkRequest, signal: AbortSignal): Promise<PreparedNetwork> {
    signal.throwIfAborted();
    const list = await this.directory.current();
    if (list !== undefined) return this.cni.prepare(list, request);
    if (this.builtin !== undefined) return this.builtin.prepare(request);
    throw new RuntimeError('Unavailable', 'no pod network', {
      cause: this.directory.problem,
      reason: 'NetworkNotReady',
    });
  }

  async detach(attachment: NetworkAttachment, signal: AbortSignal): Promise<void> {
    if (attachment.kind === 'cni') await this.cni.detach(attachment, signal);
    else if (this.builtin !== undefined) await this.builtin.detach(attachment);
  }

  async adopt(living: readonly NetworkAttachment[]): Promise<void> {
    this.builtin?.adopt(living.filter((attachment) => attachment.kind === 'builtin'));
    const list = await this.directory.current();
    if (list === undefined) return;
    const signal = AbortSignal.timeout(60_000);
    await this.cni.collect(list, living, signal).catch((error: unknown) => {
      this.logger.warn('collecting unused pod addresses failed', {
        network: list.name,
        error: messageOf(error),
      });
    });
    for (const attachment of living.filter((entry) => entry.kind === 'cni')) {
      await this.cni.check(attachment, signal).catch((error: unknown) => {
        this.logger.warn('the network of an adopted pod differs', {
          podSandboxId: attachment.sandboxId,
          error: messageOf(error),
        });
      });
    }
  }

  async setPodCidr(cidr: string): Promise<void> {
    await this.builtin?.setPodCidr(cidr.split(',').map((part) => part.trim()));
  }

  async close(): Promise<void> {
    this.directory.close();
  }

  private async problem(): Promise<string | undefined> {
    const list = await this.directory.current();
    try {
      if (list === undefined) {
        if (this.builtin === undefined) return this.directory.problem;
        await this.builtin.prepareHost();
        return undefined;
      }
      const last = this.lastStatus;
      if (last?.generation === this.directory.generation && performance.now() - last.atMs < STATUS_TTL_MS)
        return last.problem;
      const problem = await this.cni.status(list, AbortSignal.timeout(20_000)).then(
        () => undefined,
        (error: unknown) => messageOf(error),
      );
      this.lastStatus = { atMs: performance.now(), generation: this.directory.generation, problem };
      return problem;
    } catch (error) {
      return messageOf(error);
    }
  }
}
