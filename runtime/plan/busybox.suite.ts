import { cp, mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openCapture } from '../../native/capture.js';
import {
  type ExitStatus,
  type Fd,
  closeFd,
  pidfdOpen,
  pidfdSendSignal,
  readFiles,
  waitPidfd,
} from '../../native/index.js';
import { parseStartTime } from '../base/process-identity.js';
import { StepError } from '../errors.js';
import { openHelper, runPlan } from '../monitor/index.js';
import type { Process, Spec } from '../spec/types.js';
import { compileContainerPlan, compileExecPlan, encodePlan, explainFailure } from './compile.js';
import type { ContainerPlanOptions, ExecPlanOptions } from './options.js';
import type { Plan } from './steps.js';

/** Why containers cannot be run here, if they cannot. */
export function whyNoContainers(): string | undefined {
  return process.getuid?.() === 0 ? undefined : 'needs root';
}

const helperPath = path.resolve('native/build/Release/podwright-init');

const capabilities = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
];

const process_: Process = {
  args: ['/bin/sh', '-c', 'true'],
  env: ['PATH=/bin'],
  cwd: '/',
  user: { uid: 0, gid: 0 },
  capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
};

/** What a Kubernetes container has: its own pid, mount, network, ipc and uts namespaces and the usual mounts. */
export const usualSpec: Spec & { readonly process: Process } = {
  ociVersion: '1.2.0',
  root: { path: 'rootfs' },
  hostname: 'box',
  process: process_,
  mounts: [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  ],
  linux: {
    namespaces: [{ type: 'pid' }, { type: 'mount' }, { type: 'ipc' }, { type: 'uts' }, { type: 'network' }],
    maskedPaths: ['/proc/kcore', '/proc/keys', '/proc/acpi', '/proc/nothing', '/sys/firmware'],
    readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
  },
};

export interface Run {
  readonly code: number;
  readonly out: string;
}

/** A process that is running: the container's init or an exec. */
export interface Running {
  readonly pid: number;
  readonly startTime: string;
  readonly ended: Promise<Run>;
  kill(): void;
}

/** A scratch directory with a busybox image and everything to run containers from it. */
export class Busybox {
  readonly directory: string;
  readonly #helper: Fd;
  readonly #running = new Set<Running>();
  #count = 0;

  private constructor(directory: string, helper: Fd) {
    this.directory = directory;
    this.#helper = helper;
  }

  static async open(): Promise<Busybox> {
    const directory = await mkdtemp(path.join(tmpdir(), 'podwright-plan-'));
    const image = path.join(directory, 'layers', '0');
    await mkdir(path.join(directory, 'mnt'), { recursive: true });
    for (const name of ['bin', 'etc', 'tmp', 'proc', 'sys', 'dev'])
      await mkdir(path.join(image, name), { recursive: true });
    await cp('/bin/busybox', path.join(image, 'bin', 'busybox'));
    for (const name of applets) await symlink('busybox', path.join(image, 'bin', name));
    return new Busybox(directory, await openHelper(helperPath));
  }

  async close(): Promise<void> {
    for (const running of this.#running) running.kill();
    await Promise.all([...this.#running].map(({ ended }) => ended));
    closeFd(this.#helper);
    await rm(this.directory, { recursive: true, force: true });
  }

  /** The host's mounts that come from here: there must never be any. */
  async hostMounts(): Promise<readonly string[]> {
    const mounts = await readFile('/proc/self/mountinfo', 'utf8');
    return mounts.split('\n').filter((line) => line.includes(this.directory));
  }

  file(...names: readonly string[]): string {
    return path.join(this.directory, ...names);
  }

  /** A directory to be put on top of the image, as a second layer. */
  async layer(): Promise<{ readonly name: string; readonly path: string }> {
    const name = `layer-${++this.#count}`;
    const layer = this.file('layers', name);
    await mkdir(layer);
    return { name, path: layer };
  }

  /** A fresh writable layer over the image and the layers given (the top one first). */
  async options(
    spec: Spec,
    { layers = [], ...more }: Partial<ContainerPlanOptions> & { layers?: readonly string[] } = {},
  ): Promise<ContainerPlanOptions> {
    const scratch = this.file(`container-${++this.#count}`);
    await mkdir(path.join(scratch, 'upper'), { recursive: true });
    await mkdir(path.join(scratch, 'work'));
    return {
      spec,
      rootfs: {
        kind: 'overlay',
        layersDir: this.file('layers'),
        lower: [...layers, '0'],
        upper: path.join(scratch, 'upper'),
        work: path.join(scratch, 'work'),
      },
      rootfsMountpoint: this.file('mnt'),
      cgroup: { v1TasksPaths: [], unifiedPath: undefined, directories: new Map() },
      seccomp: undefined,
      fileLimit: 4096,
      keyringName: 'podwright-test',
      ...more,
    };
  }

  /** Runs a shell script as the container's init, to its end. */
  async run(script: string, spec: Spec & { readonly process: Process } = usualSpec, more = {}): Promise<Run> {
    const args = ['/bin/sh', '-c', script];
    const options = await this.options({ ...spec, process: { ...spec.process, args } }, more);
    return (await this.start(compileContainerPlan(options))).ended;
  }

  /** Runs a shell script in a running container, to its end. */
  async exec(
    script: string,
    options: Omit<ExecPlanOptions, 'fileLimit' | 'keyringName' | 'seccomp' | 'cgroup' | 'sharedPid'> &
      Partial<ExecPlanOptions>,
  ): Promise<Run> {
    const plan = compileExecPlan({
      sharedPid: false,
      cgroup: { v1TasksPaths: [], unifiedPath: undefined },
      seccomp: undefined,
      fileLimit: 4096,
      keyringName: 'podwright-test',
      ...options,
      process: { ...options.process, args: ['/bin/sh', '-c', script] },
    });
    return (await this.start(plan)).ended;
  }

  /** Starts a plan without waiting at the exec fifo. @throws what {@link explainFailure} makes of a failed step */
  async start(plan: Plan): Promise<Running> {
    const withoutFifo = { ...plan, child: plan.child.filter(({ kind }) => kind !== 'exec-fifo') };
    const capture = openCapture(1 << 20);
    let pid: number | undefined;
    try {
      const bytes = encodePlan(withoutFifo);
      ({ pid } = await runPlan({
        helperFd: this.#helper,
        plan: bytes,
        stdio: [null, capture.writeEnd, capture.writeEnd],
      }));
    } catch (error) {
      capture.finish();
      throw error instanceof StepError ? explainFailure(withoutFifo, error.failure) : error;
    } finally {
      closeFd(capture.writeEnd);
    }
    if (pid === undefined) throw new Error('no child');
    return this.#follow(pid, () => capture.finish().toString());
  }

  async #follow(pid: number, output: () => string): Promise<Running> {
    const pidfd = pidfdOpen(pid);
    const [stat] = await readFiles([`/proc/${pid}/stat`]);
    const running: Running = {
      pid,
      startTime: (typeof stat === 'string' ? parseStartTime(stat) : undefined) ?? '0',
      ended: waitPidfd(pidfd).then((status: ExitStatus | undefined) => {
        this.#running.delete(running);
        return { code: status?.code ?? -1, out: output() };
      }),
      kill: () => pidfdSendSignal(pidfd, 9),
    };
    this.#running.add(running);
    return running;
  }
}

const applets = [
  'sh',
  'cat',
  'ls',
  'mount',
  'id',
  'stat',
  'readlink',
  'grep',
  'mkdir',
  'touch',
  'sleep',
  'hostname',
  'pwd',
  'env',
  'ulimit',
  'test',
  'chmod',
  'ps',
  'wc',
  'head',
  'tail',
  'awk',
  'sort',
  'umask',
  'tty',
  'stty',
  'chroot',
  'unshare',
  'ip',
  'echo',
  'rm',
  'df',
  'dd',
  'mknod',
];
