import { mkdir, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { cgroupHierarchies } from '../instance.js';
import { nodeAddress, nodeName } from './places.js';
import { ready, startProgram, type Program } from './program.js';
import { connectRest, type Rest } from './rest.js';

/** The runtime that a kubelet is given. */
export interface NodeRuntime {
  readonly socket: string;
  /** The kubelet makes the cgroups of its pods below this one, and removes what it does not know there. */
  readonly cgroupRoot: string;
}

export interface KubeletOptions {
  readonly runtime: NodeRuntime;
  /** Of its root, configuration and log. */
  readonly directory: string;
  /** Without one it runs static pods only. */
  readonly kubeconfig?: string;
  /** Fields of its configuration on top of ours. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

/** A kubelet on directories and a cgroup of its own. It may be killed and started again. */
export class Kubelet {
  /** Pods described by files in this directory run without an API server. */
  readonly manifests: string;
  /** Its own server. */
  readonly rest: Rest = connectRest(nodeAddress, 10250);
  readonly #root: string;
  #program: Program | undefined;

  private constructor(readonly options: KubeletOptions) {
    this.#root = path.join(options.directory, 'kubelet');
    this.manifests = path.join(options.directory, 'manifests');
  }

  static async start(options: KubeletOptions): Promise<Kubelet> {
    const kubelet = new Kubelet(options);
    await kubelet.#prepare();
    await kubelet.start();
    return kubelet;
  }

  get pid(): number {
    if (this.#program === undefined) throw new Error('the kubelet is not running');
    return this.#program.pid;
  }

  get log(): string {
    return path.join(this.options.directory, 'kubelet.log');
  }

  /** Starts it, with other settings if some are given, and resolves when it answers. */
  async start(settings: Readonly<Record<string, unknown>> = {}): Promise<void> {
    const { directory, kubeconfig, runtime } = this.options;
    const config = path.join(directory, 'kubelet.json');
    await writeFile(config, JSON.stringify({ ...this.#configuration(), ...settings }, undefined, 2));
    const program = await startProgram(
      'kubelet',
      [
        ...['--config', config, '--root-dir', this.#root, '--v=2'],
        // Whoever answers there tells cAdvisor which cgroup is whose.
        ...['--containerd', runtime.socket],
        ...['--hostname-override', nodeName, '--node-ip', nodeAddress],
        ...(kubeconfig === undefined ? [] : ['--kubeconfig', kubeconfig]),
      ],
      directory,
    );
    this.#program = program;
    await ready(program, async () => (await this.rest.text('/healthz')) === 'ok');
  }

  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.#program?.end(signal);
    this.#program = undefined;
  }

  /** Directories of the pods that it has not cleaned up yet. */
  async volumes(): Promise<readonly string[]> {
    return readdir(path.join(this.#root, 'pods')).catch(() => []);
  }

  /** What the kubelet's configuration file says, besides the settings of a test. */
  #configuration(): Readonly<Record<string, unknown>> {
    const { directory, runtime, settings } = this.options;
    return {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      containerRuntimeEndpoint: `unix://${runtime.socket}`,
      address: nodeAddress,
      authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
      authorization: { mode: 'AlwaysAllow' },
      cgroupDriver: 'cgroupfs',
      cgroupRoot: runtime.cgroupRoot,
      resolvConf: path.join(directory, 'resolv.conf'),
      staticPodPath: this.manifests,
      fileCheckFrequency: '1s',
      syncFrequency: '10s',
      podLogsDir: path.join(directory, 'pod-logs'),
      volumePluginDir: path.join(directory, 'volume-plugins'),
      // What a machine for tests may lack, or must not change.
      failCgroupV1: false,
      failSwapOn: false,
      oomScoreAdj: 0,
      makeIPTablesUtilChains: false,
      evictionHard: { 'memory.available': '1%', 'nodefs.available': '1%', 'imagefs.available': '1%' },
      imageGCHighThresholdPercent: 99,
      imageGCLowThresholdPercent: 98,
      serializeImagePulls: false,
      registryPullQPS: 0,
      kubeAPIQPS: 200,
      kubeAPIBurst: 400,
      ...settings,
    };
  }

  async #prepare(): Promise<void> {
    const { directory, runtime } = this.options;
    for (const folder of [this.#root, this.manifests, path.join(directory, 'pod-logs')])
      await mkdir(folder, { recursive: true });
    await writeFile(path.join(directory, 'resolv.conf'), 'nameserver 127.0.0.53\nsearch example.test\n');
    for (const hierarchy of await cgroupHierarchies())
      await mkdir(path.join(hierarchy, runtime.cgroupRoot), { recursive: true });
  }
}
