import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import type { Bed, Workload } from './bed.js';
import { eventually } from './eventually.js';
import { cgroupHierarchies } from './instance.js';
import type { Wanted } from './streaming-client.js';

/** URLs of sessions, and what sessions leave in cgroups. */

export async function execUrl(
  { daemon }: Bed,
  { id }: Workload,
  command: string | readonly string[],
  { stdin = false, stdout = false, stderr = false, tty = false }: Wanted,
): Promise<string> {
  const cmd = typeof command === 'string' ? ['sh', '-c', command] : [...command];
  const request = { containerId: id, cmd, stdin, stdout, stderr, tty };
  return (await daemon.client.runtime.exec(request)).url;
}

export async function attachUrl(
  { daemon }: Bed,
  containerId: string,
  { stdin = false, stdout = false, stderr = false, tty = false }: Wanted,
): Promise<string> {
  return (await daemon.client.runtime.attach({ containerId, stdin, stdout, stderr, tty })).url;
}

export async function forwardUrl(
  { daemon }: Bed,
  podSandboxId: string,
  port: readonly number[] = [],
): Promise<string> {
  return (await daemon.client.runtime.portForward({ podSandboxId, port: [...port] })).url;
}

/** Paths of the cgroups of commands that are executed in the container. */
export async function execCgroups({ daemon }: Bed, { id }: Workload): Promise<readonly string[]> {
  const found: string[] = [];
  for (const hierarchy of await cgroupHierarchies()) {
    const parent = path.join(hierarchy, daemon.instance.cgroupParent);
    const below = await readdir(parent, { recursive: true }).catch(() => []);
    const execs = below.filter((name) => name.includes(id) && path.basename(name).startsWith('exec-'));
    found.push(...execs.map((name) => path.join(parent, name)));
  }
  return found;
}

export async function noExecCgroups(bed: Bed, container: Workload): Promise<void> {
  const left = await eventually(
    () => execCgroups(bed, container),
    (found) => found.length === 0,
  );
  expect(left).to.deep.equal([]);
}
