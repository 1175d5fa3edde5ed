import type { Container, ContainerRequest, ContainerService } from '../../runtime/container/types.js';
import { RuntimeError } from '../../runtime/errors.js';
import type { Image, ImageService } from '../../runtime/image/types.js';
import type { Sandbox, SandboxRequest, SandboxService } from '../../runtime/sandbox/types.js';
import type { Runtime } from '../../runtime/index.js';

/**
 * A runtime that keeps values and starts nothing, for tests of what is above it: translation, filters, idempotence,
 * answers. Whatever needs a kernel is Unimplemented here and tested against the real one.
 */
export interface InMemoryRuntime extends Runtime {
  readonly sandboxRequests: SandboxRequest[];
  readonly containerRequests: ContainerRequest[];
  putImage(image: Image): void;
  replaceContainer(id: string, change: Partial<Container>): void;
}

export function openInMemoryRuntime(): InMemoryRuntime {
  const sandboxes = new Map<string, Sandbox>();
  const containers = new Map<string, Container>();
  const images = new Map<string, Image>();
  const sandboxRequests: SandboxRequest[] = [];
  const containerRequests: ContainerRequest[] = [];
  return {
    sandboxes: sandboxService(sandboxes, sandboxRequests),
    containers: containerService(containers, containerRequests),
    images: imageService(images),
    network: {
      status: async () => ({ ready: false, reason: 'NoNetwork', message: 'no network in memory' }),
      prepare: missing,
      detach: missing,
      adopt: missing,
      setPodCidr: async () => undefined,
      close: async () => undefined,
    },
    cgroups: {
      name: 'cgroupfs',
      mode: 'v2',
      controllers: new Set(['cpu', 'memory', 'hugetlb']),
      path: (parent, id) => `${parent}/${id}`,
      create: missing,
      open: () => {
        throw new RuntimeError('Unimplemented', 'not in memory');
      },
      stats: async (paths) => paths.map(() => undefined),
      countProcesses: async (paths) => paths.map(() => undefined),
    },
    rootfs: { readFile: async () => undefined, kindOf: async () => undefined },
    seccomp: {
      defaultProfile: (capabilities) => ({
        defaultAction: 'SCMP_ACT_ERRNO',
        listenerMetadata: capabilities.join(),
      }),
      parseProfile: (text) => JSON.parse(text) as never,
      compile: missing,
    },
    cdi: { inject: async (_names, spec) => spec },
    apparmor: {
      loadDefault: async () => 'podwright-default',
      checkLoaded: async () => undefined,
    },
    storage: async () => ({
      filesystem: { device: '/dev/test', bytes: 1000n, inodes: 100n, inodesFree: 10n },
      deviceNames: new Map(),
    }),
    features: async () => ({ userNamespaces: undefined, recursiveReadOnlyMounts: undefined }),
    close: async () => undefined,
    sandboxRequests,
    containerRequests,
    putImage: (image) => images.set(image.id, image),
    replaceContainer: (id, change) => {
      const old = containers.get(id);
      if (old !== undefined) containers.set(id, { ...old, ...change });
    },
  };
}

async function missing(): Promise<never> {
  throw new RuntimeError('Unimplemented', 'not in memory');
}

function numberedId(number: number): string {
  return number.toString(16).padStart(2, '0').padEnd(64, 'f');
}

function find<T extends { readonly id: string }>(
  objects: ReadonlyMap<string, T>,
  prefix: string,
): T | undefined {
  const matches = [...objects.values()].filter(({ id }) => prefix !== '' && id.startsWith(prefix));
  return matches.length === 1 ? matches[0] : undefined;
}

function sandboxService(sandboxes: Map<string, Sandbox>, requests: SandboxRequest[]): SandboxService {
  return {
    run: async (request) => {
      requests.push(request);
      const sandbox: Sandbox = {
        id: numberedId(requests.length),
        request,
        createdAtNs: BigInt(requests.length),
        state: { phase: 'ready', pause: { pid: 1, startTime: '0' } },
        cgroupPath: '/test',
        netnsPath: undefined,
        network: { ips: ['10.0.0.2', 'fd00::2'], interfaces: [] },
        timingsMs: {},
        files: { hosts: '', hostname: '', resolvConf: '' },
      };
      sandboxes.set(sandbox.id, sandbox);
      return sandbox;
    },
    stop: async (id) => {
      const sandbox = sandboxes.get(id);
      if (sandbox !== undefined)
        sandboxes.set(id, { ...sandbox, state: { phase: 'notready', message: 'stopped' } });
    },
    remove: async (id) => void sandboxes.delete(id),
    update: async (id, limits) => {
      const sandbox = sandboxes.get(id);
      if (sandbox !== undefined)
        sandboxes.set(id, { ...sandbox, podLimits: { ...sandbox.podLimits, ...limits } });
    },
    find: (prefix) => find(sandboxes, prefix),
    list: () => [...sandboxes.values()],
    stats: async () => [],
    interfaces: async (ids) =>
      ids.flatMap((id) => {
        const sandbox = sandboxes.get(id);
        return sandbox === undefined ? [] : [{ sandbox, interfaces: [] }];
      }),
    portForward: missing,
    subscribe: () => () => undefined,
  };
}

function containerService(
  containers: Map<string, Container>,
  requests: ContainerRequest[],
): ContainerService {
  return {
    create: async (request) => {
      requests.push(request);
      const container: Container = {
        id: numberedId(requests.length),
        request,
        createdAtNs: BigInt(requests.length),
        state: { phase: 'created', init: { pid: 1, startTime: '0' } },
        cgroupPath: '/test',
        spec: request.spec,
        logPath: request.log === undefined ? undefined : `${request.log.directory}/${request.log.path}`,
        timingsMs: {},
      };
      containers.set(container.id, container);
      return container;
    },
    start: missing,
    stop: async () => undefined,
    remove: async (id) => void containers.delete(id),
    pause: missing,
    resume: missing,
    execSync: async (_id, { argv }) => ({
      stdout: Buffer.from(argv.join(' ')),
      stderr: Buffer.alloc(0),
      exitCode: 0,
    }),
    exec: missing,
    attach: missing,
    reopenLog: missing,
    update: missing,
    checkpoint: missing,
    restore: missing,
    stats: async (ids) =>
      ids.flatMap((id) => {
        const container = containers.get(id);
        return container === undefined
          ? []
          : [{ container, cgroup: undefined, writableLayer: undefined, processes: undefined }];
      }),
    find: (prefix) => find(containers, prefix),
    list: () => [...containers.values()],
    describePlan: () => undefined,
    subscribe: () => () => undefined,
  };
}

function imageService(images: Map<string, Image>): ImageService {
  const get = (reference: string): Image | undefined =>
    [...images.values()].find((image) =>
      [image.id, ...image.repoTags, ...image.repoDigests].includes(reference),
    );
  return {
    pull: missing,
    get,
    list: () => [...images.values()],
    remove: async (reference) => void images.delete(get(reference)?.id ?? ''),
    usage: async () => ({ path: '/', bytes: 1n, inodes: 1n }),
    pin: () => undefined,
    unpin: () => undefined,
    ownersOf: () => [],
    sweep: missing,
    counters: () => ({ pulls: 0, failures: 0, active: 0, downloadedBytes: 0, retries: 0 }),
    close: async () => undefined,
  };
}
