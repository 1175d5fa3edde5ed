import { access, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startDaemon } from '../daemon.js';
import { cniBridge } from '../fixtures/cni-bridge.js';
import { containerdProgram } from '../fixtures/containerd.js';
import { writeHostsDirectory } from '../fixtures/hosts-directory.js';
import { startImageServer, type ImageServer } from '../fixtures/image-server.js';
import { nodeReady } from './cluster.js';
import { podSubnet, startContainerd } from './containerd.js';
import { startControlPlane } from './control-plane.js';
import { buildPause } from './images.js';
import { Kubelet, type NodeRuntime } from './kubelet.js';
import { makeKubectl, type Kubectl } from './kubectl.js';
import { serveImages, type Images } from './node.js';
import type { Rest } from './rest.js';

/** A runtime that is compared with others, in clusters that differ in nothing else. */
export interface Candidate {
  readonly name: string;
  start(server: ImageServer): Promise<StartedRuntime>;
}

export interface StartedRuntime extends NodeRuntime {
  readonly scratch: string;
  /** The cgroup of the runtime and everything it starts besides pods. */
  readonly box: string;
  end(): Promise<void>;
}

export const podwright = (network: 'built-in network' | 'CNI'): Candidate => ({
  name: `Podwright, ${network}`,
  start: async (server) => {
    const daemon = await startDaemon();
    const { scratch, cgroupParent, box } = daemon.instance;
    await writeHostsDirectory(daemon.hostsDirectory, server.host, []);
    if (network === 'CNI')
      await writeFile(
        path.join(daemon.cniDirectory, '10-bridge.conflist'),
        cniBridge({ bridge: 'pwc0', subnet: podSubnet, scratch }),
      );
    const end = (): Promise<void> => daemon.destroy();
    return { scratch, box, socket: daemon.socket, cgroupRoot: cgroupParent, end };
  },
});

export const containerd: Candidate = {
  name: 'containerd + runc, CNI',
  start: (server) => startContainerd(server.host),
};

/** Whether the tools of `npm run setup bench` are there. */
export async function hasContainerd(): Promise<boolean> {
  return access(containerdProgram).then(
    () => true,
    () => false,
  );
}

/** What candidates pull: the images of pods, and the one that containerd wants for their first process. */
export async function startComparedImages(): Promise<{
  readonly server: ImageServer;
  readonly images: Images;
}> {
  const server = await startImageServer();
  server.add('test/pause', '1', await buildPause());
  return { server, images: await serveImages(server) };
}

export interface ComparedNode {
  readonly runtime: StartedRuntime;
  readonly kubelet: Kubelet;
  readonly api: Rest;
  readonly kubectl: Kubectl;
}

export interface ComparedNodeOptions {
  readonly candidate: Candidate;
  readonly server: ImageServer;
  /** Fields of the kubelet's configuration. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

/** Makes a cluster with the candidate on its node, and ends it after use. */
export async function withCandidate<T>(
  { candidate, server, settings = {} }: ComparedNodeOptions,
  use: (node: ComparedNode) => Promise<T>,
): Promise<T> {
  const directory = await mkdtemp(path.join(tmpdir(), 'pw-cluster-'));
  const controlPlane = await startControlPlane(directory);
  const runtime = await candidate.start(server);
  const { kubeconfig, api } = controlPlane;
  try {
    const kubelet = await Kubelet.start({ runtime, directory: runtime.scratch, kubeconfig, settings });
    try {
      await nodeReady(api);
      return await use({ runtime, kubelet, api, kubectl: makeKubectl(kubeconfig) });
    } finally {
      await kubelet.end();
    }
  } finally {
    await controlPlane.end();
    await runtime.end();
    await rm(directory, { recursive: true, force: true });
  }
}
