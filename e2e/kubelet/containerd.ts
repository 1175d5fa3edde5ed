import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, open, readdir, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connectCri } from '../cri-client.js';
import { writeHostsDirectory } from '../fixtures/hosts-directory.js';
import { cgroupHierarchies, enterBox, makeBox } from '../instance.js';
import { cache, cniPlugins } from '../places.js';
import type { NodeRuntime } from './kubelet.js';

/** containerd with runc, for comparison: on directories and cgroups of its own. */
export interface Containerd extends NodeRuntime {
  readonly scratch: string;
  /** The cgroup of containerd and everything it starts. */
  readonly box: string;
  /** To be called once its pods are gone. */
  end(): Promise<void>;
}

const tools = path.join(cache, 'bench/bin');
export const containerdProgram = path.join(tools, 'containerd');

/** @param registry serves the image of pods' first process as `test/pause:1` */
export async function startContainerd(registry: string): Promise<Containerd> {
  const scratch = await mkdtemp(path.join(tmpdir(), 'pw-ctd-'));
  const cgroupRoot = `/${path.basename(scratch)}`;
  const box = await makeBox(`${path.basename(scratch)}-daemon`);
  const socket = path.join(scratch, 'cri.sock');
  await writeHostsDirectory(path.join(scratch, 'certs.d'), registry);
  await mkdir(path.join(scratch, 'cni'));
  await writeFile(path.join(scratch, 'cni/10-bridge.conflist'), bridgeConfiguration('ctd0', scratch));
  const config = path.join(scratch, 'config.toml');
  await writeFile(config, configuration(scratch, registry));
  const log = await open(path.join(scratch, 'containerd.log'), 'a');
  const command = [containerdProgram, '--config', config, '--log-level', 'warn'];
  const daemon = spawn('/bin/sh', ['-c', enterBox, 'sh', box, ...command], {
    stdio: ['ignore', log.fd, log.fd],
    env: { ...process.env, PATH: `${tools}:${process.env['PATH'] ?? ''}` },
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

/** A bridge for pods with addresses of its own, as a CNI configuration. */
export function bridgeConfiguration(bridge: string, scratch: string): string {
  return JSON.stringify({
    cniVersion: '1.0.0',
    name: 'pods',
    plugins: [
      {
        ...{ type: 'bridge', bridge, isGateway: true, ipMasq: false },
        ipam: {
          ...{ type: 'host-local', dataDir: path.join(scratch, 'ipam') },
          ranges: [[{ subnet: '10.198.0.0/16' }]],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      },
    ],
  });
}

function configuration(scratch: string, registry: string): string {
  return `version = 3
root = "${scratch}/root"
state = "${scratch}/state"
[grpc]
  address = "${scratch}/cri.sock"
[ttrpc]
  address = "${scratch}/ttrpc.sock"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "${registry}/test/pause:1"
  [plugins.'io.containerd.cri.v1.images'.registry]
    config_path = "${scratch}/certs.d"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  disable_apparmor = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["${cniPlugins}"]
    conf_dir = "${scratch}/cni"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = "${tools}/runc"
[plugins.'io.containerd.nri.v1.nri']
  disable = true
`;
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
