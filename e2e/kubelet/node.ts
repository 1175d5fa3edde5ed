import { startDaemon, type Daemon } from '../daemon.js';
import { eventually } from '../eventually.js';
import { writeHostsDirectory } from '../fixtures/hosts-directory.js';
import { startImageServer, type ImageServer } from '../fixtures/image-server.js';
import { buildAgnhost, buildBusybox } from './images.js';
import { Kubelet } from './kubelet.js';

/** Podwright under a kubelet, with a registry that serves what pods run. */
export interface Node {
  readonly daemon: Daemon;
  readonly kubelet: Kubelet;
  readonly server: ImageServer;
  readonly images: Images;
  /** To be called once its pods are deleted: ends kubelet and daemon, and checks that nothing of the pods is left. */
  end(): Promise<void>;
}

export interface Images {
  readonly busybox: string;
  readonly agnhost: string;
}

export interface NodeOptions {
  readonly kubeconfig?: string;
  /** Fields of the kubelet's configuration. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

export async function startNode({ kubeconfig, settings }: NodeOptions = {}): Promise<Node> {
  const server = await startImageServer();
  const images = await serveImages(server);
  const daemon = await startDaemon();
  try {
    await writeHostsDirectory(daemon.hostsDirectory, server.host, []);
    const { scratch, cgroupParent } = daemon.instance;
    const kubelet = await Kubelet.start({
      runtime: { socket: daemon.socket, cgroupRoot: cgroupParent },
      directory: scratch,
      ...(kubeconfig === undefined ? {} : { kubeconfig }),
      ...(settings === undefined ? {} : { settings }),
    });
    const end = async (): Promise<void> => {
      try {
        await eventually(
          () => kubelet.volumes(),
          (volumes) => volumes.length === 0,
          60_000,
        );
        await kubelet.end();
        await expectNothingLeft(daemon);
      } finally {
        await kubelet.end('SIGKILL');
        await server.stop();
        await daemon.destroy();
      }
    };
    return { daemon, kubelet, server, images, end };
  } catch (error) {
    await server.stop();
    await daemon.destroy();
    throw error;
  }
}

/** The cgroups of pods and of their classes are the kubelet's: it may end before it has removed the last ones. */
const keptCgroup = /\/kubepods(\/besteffort|\/burstable)?(\/pod[^/]+)?$/;

/** @throws Error naming what Podwright has left of the pods that the kubelet ended */
async function expectNothingLeft(daemon: Daemon): Promise<void> {
  await daemon.removeAll();
  const code = await daemon.stop();
  if (code !== 0) throw new Error(`the daemon ended with ${code} after SIGTERM`);
  const left = (await daemon.leftovers()).filter((what) => !keptCgroup.test(what));
  if (left.length > 0) throw new Error(`left behind:\n${left.join('\n')}`);
}

export async function serveImages(server: ImageServer): Promise<Images> {
  server.add('test/busybox', '1', await buildBusybox());
  server.add('test/agnhost', '1', await buildAgnhost());
  return { busybox: `${server.host}/test/busybox:1`, agnhost: `${server.host}/test/agnhost:1` };
}
