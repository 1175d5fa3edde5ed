import path from 'node:path';
import { ContainerState, NamespaceMode, PodSandboxState } from '../protos/gen/cri/runtime/v1/api.js';
import { instanceOf } from '../runtime/base/ids.js';
import type { Bed } from './bed.js';
import { eventually } from './eventually.js';
import { possessions, type Possessions } from './instance.js';
import { commandOf } from './processes.js';

/** What a running daemon says exists. */
interface Known {
  readonly pods: ReadonlySet<string>;
  readonly containers: ReadonlySet<string>;
  /** Pods and containers that have processes. */
  readonly living: ReadonlySet<string>;
  /** Ready pods with a network of their own: id → address. */
  readonly networked: ReadonlyMap<string, string>;
}

/**
 * What is on the machine of a running daemon's instance, but belongs to none of the pods and containers that it knows:
 * one sentence each. What an exit or a removal leaves may go a moment later, so it is given a few seconds.
 */
export async function strays(bed: Bed): Promise<readonly string[]> {
  return eventually(
    () => findStrays(bed),
    (found) => found.length === 0,
  );
}

async function findStrays(bed: Bed): Promise<readonly string[]> {
  const { instance, pid } = bed.daemon;
  const [known, owned] = await Promise.all([ask(bed), possessions(instance)]);
  const digits = instanceOf(instance.root);
  const belongs = (id: string): boolean => known.living.has(id);
  const networked = [...known.networked.keys()];
  return [
    ...owned.cgroups.filter((cgroup) => !belongs(path.basename(cgroup))).map((cgroup) => `cgroup ${cgroup}`),
    ...owned.mounts.map((mount) => `mount ${mount}`),
    ...owned.namespaces
      .filter((name) => !networked.some((id) => name === `podwright-${digits}-${id.slice(0, 16)}`))
      .map((name) => `network namespace ${name}`),
    ...owned.interfaces
      .filter((name) => !networked.some((id) => name === `pw${digits.slice(0, 4)}${id.slice(0, 9)}`))
      .map((name) => `interface ${name}`),
    ...owned.forwardedPorts
      .filter((port) => ![...known.networked.values()].some((address) => port.includes(`: ${address} .`)))
      .map((port) => `forwarded port ${port}`),
    ...owned.unfinishedFiles.map((file) => `unfinished file ${file}`),
    ...(await strayFiles(owned, known)),
    ...(await strayProcesses(owned, known, pid)),
  ];
}

async function ask({ daemon }: Bed): Promise<Known> {
  const { runtime } = daemon.client;
  const [{ items }, { containers }] = await Promise.all([runtime.listPodSandbox(), runtime.listContainers()]);
  const ready = items.filter(({ state }) => state === PodSandboxState.SANDBOX_READY);
  const alive = containers.filter(({ state }) => state !== ContainerState.CONTAINER_EXITED);
  const networked = new Map<string, string>();
  for (const { id } of ready) {
    const { status } = await runtime.podSandboxStatus({ podSandboxId: id });
    if (status?.linux?.namespaces?.options?.network !== NamespaceMode.NODE)
      networked.set(id, status?.network?.ip ?? '');
  }
  return {
    pods: new Set(items.map(({ id }) => id)),
    containers: new Set(containers.map(({ id }) => id)),
    living: new Set([...ready, ...alive].map(({ id }) => id)),
    networked,
  };
}

async function strayFiles({ files }: Possessions, known: Known): Promise<readonly string[]> {
  const ids = { pods: known.pods, containers: known.containers };
  return files
    .filter((file) => {
      const room = path.basename(path.dirname(file)) as keyof typeof ids;
      return !ids[room].has(path.basename(file));
    })
    .map((file) => `file ${file}`);
}

/** Outside the pods' cgroups only the daemon itself may be, and the monitors of living containers. */
async function strayProcesses(
  { box }: Possessions,
  { living }: Known,
  daemon: number,
): Promise<readonly string[]> {
  const described = await Promise.all(
    box.filter((pid) => pid !== daemon).map(async (pid) => ({ pid, command: await commandOf(pid) })),
  );
  return described
    .filter(({ command }) => {
      const [program, role, id = ''] = command;
      return command.length > 0 && !(program === 'podwright-init' && role === 'monitor' && living.has(id));
    })
    .map(({ pid, command }) => `process ${pid} (${command.join(' ')})`);
}
