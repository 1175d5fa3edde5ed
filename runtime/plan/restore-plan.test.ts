import { expect } from 'chai';
import type { Spec } from '../spec/types.js';
import { usualSpec } from './busybox.suite.js';
import { compileRestorePlan, encodePlan } from './compile.js';
import type { ContainerPlanOptions } from './options.js';

const options = (spec: Spec, more: Partial<ContainerPlanOptions> = {}): ContainerPlanOptions => ({
  spec,
  rootfs: { kind: 'overlay', layersDir: '/layers', lower: ['1'], upper: '/c/upper', work: '/c/work' },
  rootfsMountpoint: '/run/podwright/rootfs',
  sandbox: { pid: 42, startTime: '7', sharedPid: false, shm: 'pause' },
  cgroup: {
    v1TasksPaths: ['/sys/fs/cgroup/memory/c/tasks'],
    unifiedPath: '/sys/fs/cgroup/unified/c',
    directories: new Map([['memory', '/sys/fs/cgroup/memory/c']]),
  },
  seccomp: undefined,
  fileLimit: 1024,
  keyringName: 'x',
  ...more,
});

const spec: Spec = {
  ...usualSpec,
  hostname: '',
  mounts: [
    { destination: '/proc', type: 'proc', source: 'proc' },
    { destination: '/data/', type: 'bind', source: '/srv/data', options: ['rbind', 'ro'] },
    { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['ro'] },
  ],
  linux: {
    cgroupsPath: '/c',
    maskedPaths: ['/proc/kcore'],
    namespaces: [
      { type: 'mount' },
      { type: 'pid' },
      { type: 'network', path: '/proc/42/ns/net' },
      { type: 'ipc', path: '/proc/42/ns/ipc' },
    ],
  },
};
const compile = (given: Spec, more: Partial<ContainerPlanOptions> = {}) =>
  compileRestorePlan({
    container: options(given, more),
    shmMountpoint: '/run/podwright/shm',
    program: '/usr/sbin/criu',
  });

describe('the plan of a restore', () => {
  it('runs CRIU in the container’s cgroups and a mount namespace, before anything of the container is there', () => {
    const { plan } = compile(spec);
    expect(plan.child.map(({ kind }) => kind)).to.deep.equal([
      'open',
      'write',
      'propagation',
      'move-mount',
      'move-mount',
      'setsid',
      'stdio',
      'exec',
    ]);
    expect(plan.child.at(-1)).to.deep.include({ preserve: 3, argv: ['/usr/sbin/criu', 'swrk', '3'] });
    expect(plan.parent.find(({ kind }) => kind === 'clone')).to.include({ flags: 0x20000 });
    expect(encodePlan(plan).length).to.be.greaterThan(100);
  });

  it('makes a cgroup namespace after the cgroup was joined, where the container has one of its own', () => {
    const withCgroup = (path?: string): Spec => ({
      ...spec,
      linux: {
        ...spec.linux,
        namespaces: [
          ...(spec.linux?.namespaces ?? []),
          path === undefined ? { type: 'cgroup' } : { type: 'cgroup', path },
        ],
      },
    });
    const { child } = compile(withCgroup()).plan;
    expect(child.map(({ kind }) => kind).slice(0, 4)).to.deep.equal([
      'open',
      'write',
      'unshare',
      'propagation',
    ]);
    expect(child[2]).to.include({ flags: 0x2000000 });
    expect(() => compile(withCgroup('/proc/42/ns/cgroup'))).to.throw(/joined cgroup namespace/);
  });

  it('checks the sandbox’ process after its namespaces were opened', () => {
    const kinds = compile(spec).plan.parent.map(({ kind }) => kind);
    expect(kinds.slice(1, 4)).to.deep.equal(['open', 'open', 'open-pid']);
  });

  it('takes mounts and namespaces from the spec', () => {
    const { mounts, namespaces } = compile(spec);
    expect(new Map(mounts.map(({ mountpoint, source }) => [mountpoint, source]))).to.deep.equal(
      new Map([
        ['/proc/kcore', '/dev/null'],
        ['/dev/shm', '/run/podwright/shm'],
        ['/data', '/srv/data'],
        ['/sys/fs/cgroup/memory', '/sys/fs/cgroup/memory/c'],
        ['/sys/fs/cgroup/unified', '/sys/fs/cgroup/unified/c'],
      ]),
    );
    expect(namespaces).to.deep.equal([
      { type: 'network', fd: 4 },
      { type: 'ipc', fd: 5 },
    ]);
  });

  it('leaves /dev/shm to a spec that has one', () => {
    const own = { ...spec, mounts: [{ destination: '/dev/shm', type: 'tmpfs', source: 'shm' }] };
    const { mounts, plan } = compile(own);
    expect(mounts.map(({ mountpoint }) => mountpoint)).to.deep.equal(['/proc/kcore']);
    expect(plan.parent.some(({ kind }) => kind === 'open-tree-in')).to.equal(false);
  });

  const namespaces = (
    pid: readonly NonNullable<NonNullable<Spec['linux']>['namespaces']>[number][],
  ): Spec => ({
    ...spec,
    linux: { ...spec.linux, namespaces: [{ type: 'mount' }, ...pid] },
  });
  const refused: readonly (readonly [string, () => unknown])[] = [
    [
      'a shared pid namespace',
      () => compile(spec, { sandbox: { pid: 1, startTime: '1', sharedPid: true, shm: 'none' } }),
    ],
    ['a joined pid namespace', () => compile(namespaces([{ type: 'pid', path: '/proc/42/ns/pid' }]))],
    ["the host's pid namespace", () => compile(namespaces([]))],
  ];
  for (const [what, attempt] of refused) it(`refuses ${what}`, () => expect(attempt).to.throw(what));
});
