import path from 'node:path';
import { fileBatch, readFiles } from '../../../native/index.js';
import type { Logger } from '../../base/logger.js';
import { RuntimeError, isErrno, messageOf } from '../../errors.js';
import type { NetworkAttachment, NetworkRequest, NetworkResult, PreparedNetwork } from '../types.js';
import { isAtLeast, type NetworkList } from './config.js';
import { findPlugin, invoke, type Invocation } from './invoke.js';
import { parseResult } from './result.js';

export interface CniOptions {
  readonly binDirs: readonly string[];
  /** Where ADD's results are kept for DEL and CHECK. */
  readonly cacheDir: string;
  readonly logger: Logger;
}

/** The interface every plugin is asked for; the kubelet expects it. */
const IFNAME = 'eth0';

/** What DEL needs and the record holds: the list as it was at ADD. */
interface CniData {
  readonly list: NetworkList;
  readonly args: string;
  readonly runtimeConfig: Readonly<Record<string, unknown>>;
}

/** CNI as the runtime side of the specification: the plugins of a list in order, each with the result of the one before. */
export class CniNetwork {
  constructor(private readonly options: CniOptions) {}

  async prepare(list: NetworkList, request: NetworkRequest): Promise<PreparedNetwork> {
    for (const plugin of list.plugins) await findPlugin(plugin.type, this.options.binDirs);
    const data: CniData = { list, args: cniArgs(request), runtimeConfig: runtimeConfigOf(request) };
    const attachment: NetworkAttachment = {
      kind: 'cni',
      sandboxId: request.sandboxId,
      netnsPath: request.netnsPath,
      data,
    };
    return {
      attachment,
      parentSteps: [],
      childSteps: [],
      attach: (signal) => this.add(attachment, data, signal),
    };
  }

  /** DEL in reverse order. Every plugin is asked even if one fails; the first error counts, so that the caller repeats. */
  async detach(attachment: NetworkAttachment, signal: AbortSignal): Promise<void> {
    const data = attachment.data as CniData;
    const prevResult = await this.readResult(attachment.sandboxId);
    const netnsGone = isErrno((await readFiles([attachment.netnsPath]))[0], 'ENOENT');
    let first: unknown;
    for (const plugin of [...data.list.plugins].reverse()) {
      try {
        await invoke(
          {
            ...this.base('DEL', attachment, data),
            plugin,
            prevResult,
            netns: netnsGone ? '' : attachment.netnsPath,
          },
          signal,
        );
      } catch (error) {
        first ??= error;
      }
    }
    if (first !== undefined) throw first instanceof Error ? first : new Error(messageOf(first));
    await fileBatch([{ op: 'unlink', path: this.cacheFile(attachment.sandboxId), missingOk: true }]);
  }

  /** STATUS (1.1) of every plugin, and their presence. @throws what the first one says */
  async status(list: NetworkList, signal: AbortSignal): Promise<void> {
    for (const plugin of list.plugins) {
      await findPlugin(plugin.type, this.options.binDirs);
      if (!isAtLeast(list.cniVersion, '1.1.0')) continue;
      await invoke({ command: 'STATUS', list, plugin, binDirs: this.options.binDirs }, signal);
    }
  }

  /** CHECK of an adopted pod: a difference is told in the log, the pod is left alone. */
  async check(attachment: NetworkAttachment, signal: AbortSignal): Promise<void> {
    const data = attachment.data as CniData;
    if (data.list.disableCheck || !isAtLeast(data.list.cniVersion, '0.4.0')) return;
    const prevResult = await this.readResult(attachment.sandboxId);
    if (prevResult === undefined) return;
    for (const plugin of data.list.plugins) {
      await invoke({ ...this.base('CHECK', attachment, data), plugin, prevResult }, signal);
    }
  }

  /** GC (1.1): plugins free whatever belongs to none of the living pods of this network. */
  async collect(list: NetworkList, living: readonly NetworkAttachment[], signal: AbortSignal): Promise<void> {
    if (list.disableGc || !isAtLeast(list.cniVersion, '1.1.0')) return;
    const valid = living
      .filter(
        (attachment) => attachment.kind === 'cni' && (attachment.data as CniData).list.name === list.name,
      )
      .map((attachment) => ({ containerID: attachment.sandboxId, ifname: IFNAME }));
    const extra = { 'cni.dev/valid-attachments': valid, 'cni.dev/attachments': valid };
    for (const plugin of list.plugins) {
      await invoke({ command: 'GC', list, plugin, binDirs: this.options.binDirs, extra }, signal);
    }
  }

  private async add(
    attachment: NetworkAttachment,
    data: CniData,
    signal: AbortSignal,
  ): Promise<NetworkResult> {
    let prevResult: unknown;
    for (const plugin of data.list.plugins) {
      prevResult = await invoke({ ...this.base('ADD', attachment, data), plugin, prevResult }, signal);
    }
    await fileBatch([
      {
        op: 'replace',
        path: this.cacheFile(attachment.sandboxId),
        data: JSON.stringify(prevResult ?? null),
        mode: 0o600,
      },
    ]);
    try {
      return parseResult(prevResult);
    } catch (error) {
      throw new RuntimeError('Unavailable', `CNI ADD of network ${data.list.name}`, {
        cause: `bad result: ${messageOf(error)}`,
      });
    }
  }

  private base(
    command: Invocation['command'],
    attachment: NetworkAttachment,
    data: CniData,
  ): Omit<Invocation, 'plugin'> {
    return {
      command,
      list: data.list,
      binDirs: this.options.binDirs,
      containerId: attachment.sandboxId,
      netns: attachment.netnsPath,
      ifname: IFNAME,
      args: data.args,
      runtimeConfig: data.runtimeConfig,
    };
  }

  private cacheFile(sandboxId: string): string {
    return path.join(this.options.cacheDir, `${sandboxId}.json`);
  }

  private async readResult(sandboxId: string): Promise<unknown> {
    const [text] = await readFiles([this.cacheFile(sandboxId)]);
    if (typeof text !== 'string') return undefined;
    const parsed: unknown = JSON.parse(Buffer.from(text, 'latin1').toString('utf8'));
    return parsed ?? undefined;
  }
}

/** CNI_ARGS as Kubernetes' plugins read them. A value that would break the list apart is refused. */
function cniArgs({ pod, sandboxId }: NetworkRequest): string {
  const pairs = {
    IgnoreUnknown: '1',
    K8S_POD_NAMESPACE: pod.namespace,
    K8S_POD_NAME: pod.name,
    K8S_POD_INFRA_CONTAINER_ID: sandboxId,
    K8S_POD_UID: pod.uid,
  };
  return Object.entries(pairs)
    .map(([key, value]) => {
      if (/[;=\0]/.test(value))
        throw new RuntimeError(
          'InvalidArgument',
          `pod ${key} ${JSON.stringify(value)} must hold neither ";" nor "="`,
        );
      return `${key}=${value}`;
    })
    .join(';');
}

/** Capabilities (CNI conventions): each plugin gets those that it declares. */
function runtimeConfigOf({
  portMappings,
  bandwidth,
  dns,
  pod,
  cgroupPath,
}: NetworkRequest): Record<string, unknown> {
  const ports = portMappings.filter((mapping) => mapping.hostPort > 0);
  const { ingressRate, egressRate } = bandwidth;
  return {
    aliases: [pod.name],
    cgroupPath,
    ...(ports.length === 0
      ? {}
      : {
          portMappings: ports.map(({ protocol, containerPort, hostPort, hostIp }) => ({
            hostPort,
            containerPort,
            protocol,
            hostIP: hostIp,
          })),
        }),
    ...(ingressRate === undefined && egressRate === undefined
      ? {}
      : { bandwidth: bandwidthOf(ingressRate, egressRate) }),
    ...(dns.servers.length === 0 && dns.searches.length === 0 && dns.options.length === 0
      ? {}
      : { dns: { servers: dns.servers, searches: dns.searches, options: dns.options } }),
  };
}

/** The largest burst the bandwidth plugin takes (32 bits), as every runtime sends it. */
const BURST_BITS = 2 ** 32 - 1;

function bandwidthOf(
  ingressRate: number | undefined,
  egressRate: number | undefined,
): Record<string, number> {
  return {
    ...(ingressRate === undefined ? {} : { ingressRate, ingressBurst: BURST_BITS }),
    ...(egressRate === undefined ? {} : { egressRate, egressBurst: BURST_BITS }),
  };
}
