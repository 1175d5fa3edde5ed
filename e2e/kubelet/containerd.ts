import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, readdir, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connectCri } from '../cri-client.js';
import { cniBridge } from '../fixtures/cni-bridge.js';
import { containerdTools, prepareContainerd } from '../fixtures/containerd.js';
import { cgroupHierarchies, enterBox, makeBox } from '../instance.js';
import type { NodeRuntime } from './kubelet.js';

/** containerd with runc, for comparison: on directories and cgroups of its own. */
export interface Containerd extends NodeRuntime {
  readonly scratch: string;
  /** The cgroup of containerd and everything it starts. */
  readonly box: string;
  /** To be called once its pods are gone. */
  end(): Promise<void>;
}

/** Of pods with addresses of their own in a comparison. */
export const podSubnet = '10.198.0.0/16';

/** @param registry serves the image of pods' first process as `test/pause:1` */
export async function startContainerd(registry: string): Promise<Containerd> {
  const scratch = await mkdtemp(path.join(tmpdir(), 'pw-ctd-'));
  const cgroupRoot = `/${path.basename(scratch)}`;
  const box = await makeBox(`${path.basename(scratch)}-daemon`);
  const socket = path.join(scratch, 'cri.sock');
  const command = await prepareContainerd({ scratch, registry, pauseImage: `${registry}/test/pause:1` });
  const network = cniBridge({ bridge: 'ctd0', subnet: podSubnet, scratch });
  await writeFile(path.join(scratch, 'cni/10-bridge.conflist'), network);
  const log = await open(path.join(scratch, 'containerd.log'), 'a');
  const daemon = spawn('/bin/sh', ['-c', enterBox, 'sh', box, ...command], {
    stdio: ['ignore', log.fd, log.fd],
    env: { ...process.env, PATH: `${containerdTools}:${process.env['PATH'] ?? ''}` },
  });
  await log.close();
  const client = connectCri(socket);
  await client.ready(30_000);
  await client.runtime.version({}, { timeoutMs: 30_000 });
  client.close();
  const end = async (): Promise<void> => {
    const ended = once(daemon, 'exit');
    daemon.kill('SIGTERM');
    await ended;
    await removeCgroups([cgroupRoot, `/${path.basename(box)}`]);
    await rm(scratch, { recursive: true, force: true });
  };
  return { scratch, socket, cgroupRoot, box, end };
}

async function removeCgroups(names: readonly string[]): Promise<void> {
  for (const hierarchy of await cgroupHierarchies()) {
    for (const name of names) {
      const top = path.join(hierarchy, name);
      const below = await readdir(top, { recursive: true, withFileTypes: true }).catch(() => []);
      const folders = below
        .filter((entry) => entry.isDirectory())
        .map((entry) => path.join(entry.parentPath, entry.name));
      for (const folder of [...folders.sort((a, b) => b.length - a.length), top])
        await rmdir(folder).catch(() => undefined);
    }
  }
}
