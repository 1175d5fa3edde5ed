import { expect } from 'chai';
import type { Mount, Spec } from '../spec/types.js';
import { usualSpec } from './busybox.suite.js';
import { compileContainerPlan, compileExecPlan, compilePausePlan } from './compile.js';
import { newDraft } from './draft.js';
import type { ContainerPlanOptions, PausePlanOptions } from './options.js';
import { describeStep } from './print.js';
import type { Plan, PlanStep, StepKind } from './steps.js';
import { hostIdOf, idMapSlot, knowIdMapSlot } from './user-namespace.js';

const mappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
const maps = { uidMappings: mappings, gidMappings: mappings };
const pause = { pid: 77, startTime: '5', shm: 'pause' as const };
const joined = (type: 'user' | 'network' | 'ipc' | 'pid', name: string = type) =>
  ({ type, path: `/proc/77/ns/${name}` }) as const;

const specIn = (more: Partial<NonNullable<Spec['linux']>> = {}, mounts = usualSpec.mounts): Spec => ({
  ...usualSpec,
  hostname: '',
  ...(mounts === undefined ? {} : { mounts }),
  linux: {
    ...usualSpec.linux,
    ...maps,
    namespaces: [{ type: 'mount' }, { type: 'pid' }, joined('network', 'net'), joined('ipc'), joined('user')],
    ...more,
  },
});

const compile = (
  spec: Spec,
  sandbox: ContainerPlanOptions['sandbox'],
  cgroup: ContainerPlanOptions['cgroup'] = {
    v1TasksPaths: [],
    unifiedPath: undefined,
    directories: new Map(),
  },
): Plan =>
  compileContainerPlan({
    spec,
    rootfs: { kind: 'overlay', layersDir: '/layers', lower: ['1'], upper: '/c/upper', work: '/c/work' },
    rootfsMountpoint: '/run/podwright/rootfs',
    sandbox,
    cgroup,
    seccomp: undefined,
    fileLimit: 1024,
    keyringName: 'podwright-1',
  });
const own: ContainerPlanOptions['sandbox'] = { ...pause, sharedPid: false };

const kinds = (steps: readonly PlanStep[]) => steps.map(({ kind }) => kind);
const texts = (steps: readonly PlanStep[], ...wanted: readonly StepKind[]) =>
  steps
    .filter(({ kind }) => wanted.includes(kind))
    .map((step) =>
      describeStep({ ...step, about: undefined }).replace(/(out|slot|root|userNamespace)=#\d+ ?/g, ''),
    );

describe('the maps of a user namespace', () => {
  it('give ids of the host, or none', () => {
    const two = [...mappings, { containerID: 70_000, hostID: 5, size: 1 }];
    expect([0, 65_535, 65_536, 70_000, 70_001].map((id) => hostIdOf(two, id))).to.deep.equal([
      100_000,
      165_535,
      undefined,
      5,
      undefined,
    ]);
  });

  it('are made once, and not where the sandbox has them', () => {
    const draft = newDraft();
    const slot = idMapSlot(draft, maps);
    expect(idMapSlot(draft, maps)).to.equal(slot);
    expect(texts(draft.parent, 'user-namespace')).to.deep.equal(
      ['user-namespace uidMap="0 100000 65536\n" gidMap="0 100000 65536\n"'].map((text) =>
        text.replaceAll('\n', '\\n'),
      ),
    );
    const known = newDraft();
    knowIdMapSlot(known, maps, 40);
    expect([idMapSlot(known, maps), known.parent]).to.deep.equal([40, []]);
  });
});

describe('the plan of a pause process with a user namespace', () => {
  const options: PausePlanOptions = {
    namespaces: { network: 'pod', pid: 'pod', ipc: 'pod' },
    hostname: 'pod',
    sysctls: {},
    shmSizeBytes: 1 << 26,
    pinNetns: '/run/netns/x',
    network: { parentSteps: [], childSteps: [] },
    cgroup: { v1TasksPaths: [], unifiedPath: undefined },
  };

  it('makes all namespaces with it, and maps it before anything else', () => {
    const plain = compilePausePlan(options);
    const { parent, child } = compilePausePlan({ ...options, userNamespace: maps });
    expect(kinds(parent)).to.deep.equal(['clone', 'id-map', 'sync', 'pin-namespace']);
    expect(kinds(child)).to.deep.equal(['sync', ...kinds(plain.child)]);
    expect(texts([...plain.parent, ...parent], 'clone')).to.deep.equal([
      'clone flags=0x6c020000',
      'clone flags=0x7c020000',
    ]);
  });
});

describe('the plan of a container in a user namespace', () => {
  it('joins first, makes its own namespaces inside, and idmaps its layers by the sandbox’ own maps', () => {
    const { parent, child } = compile(specIn(), own);
    expect(kinds(parent)).to.deep.equal([
      'open',
      'open-pid',
      'idmapped-overlay',
      'fs-mount',
      ...Array<string>(6).fill('make-device'),
      ...Array<string>(6).fill('symlink'),
      'open-tree-in',
      'mount-setattr',
      'stdio-owner',
      'clone',
    ]);
    expect(texts(parent, 'open', 'clone', 'stdio-owner')).to.deep.equal([
      'open path=/proc/77/ns/user flags=0x80000',
      'stdio-owner uid=100000 gid=100000',
      'clone flags=0x0',
    ]);
    expect(texts(parent, 'fs-mount')[0]).to.contain('"uid=100000","gid=100000"');
    expect(texts(child, 'join', 'unshare', 'make-device')).to.deep.equal([
      'join flags=0x58000000',
      'unshare flags=0x20020000',
    ]);
    expect(kinds(child).slice(0, 4)).to.deep.equal(['join', 'unshare', 'propagation', 'move-mount']);
    expect(texts(child, 'move-mount')[0]).to.equal('move-mount path=/tmp create=no');
  });

  it('enters a shared pid namespace by its file, while it sees the procfs of the host', () => {
    const namespaces = [{ type: 'mount' }, joined('user'), joined('pid')] as const;
    const { parent, child } = compile(specIn({ namespaces }), { ...pause, sharedPid: true });
    expect(texts(parent, 'open').at(-1)).to.equal('open path=/proc/77/ns/pid flags=0x80000');
    const order = kinds(child).filter((kind) =>
      ['join-pid', 'open', 'fs-mount', 'pivot-root'].includes(kind),
    );
    expect(order.slice(-4)).to.deep.equal(['join-pid', 'open', 'fs-mount', 'pivot-root']);
    expect(texts(child, 'open')).to.deep.equal(['open path=/tmp flags=0x290000']);
  });

  it('can have a new one', () => {
    const namespaces = [{ type: 'user' }, { type: 'mount' }, { type: 'pid' }] as const;
    const { parent, child } = compile(specIn({ namespaces }, []), undefined);
    expect(kinds(parent).filter((kind) => !['make-device', 'symlink'].includes(kind))).to.deep.equal([
      'user-namespace',
      'idmapped-overlay',
      'stdio-owner',
      'clone',
      'id-map',
      'sync',
    ]);
    expect(texts(parent, 'clone')).to.deep.equal(['clone flags=0x30020000']);
    expect(kinds(child)[0]).to.equal('sync');
  });

  it('idmaps binds by their own maps, by its maps if only that is asked for, and recursively where it is said', () => {
    const shifted = [{ containerID: 0, hostID: 7, size: 1 }];
    const bind = (options: readonly string[], more: Partial<Mount> = {}): Mount => ({
      destination: '/m',
      type: 'bind',
      source: '/m',
      options,
      ...more,
    });
    const mounts = [
      bind(['rbind', 'rprivate'], maps),
      bind(['rbind', 'rprivate', 'ridmap']),
      bind(['bind', 'idmap'], { uidMappings: shifted, gidMappings: shifted }),
    ];
    const { parent } = compile(specIn({}, mounts), own);
    const idmapped = parent.filter(
      (step) => step.kind === 'mount-setattr' && step.userNamespace !== undefined,
    );
    expect(idmapped.map((step) => 'recursive' in step && step.recursive)).to.deep.equal([false, true, false]);
    expect(kinds(parent).filter((kind) => kind === 'user-namespace')).to.have.length(1);
    expect(() => compile({ ...usualSpec, mounts: [bind(['idmap'])] }, undefined)).to.throw(
      '/m: maps of users',
    );
    expect(() => compile(specIn({}, [bind(['idmap'], { uidMappings: shifted })]), own)).to.throw(
      '/m: maps of users',
    );
    const tmpfs = { destination: '/t', type: 'tmpfs', options: ['idmap'] };
    expect(() => compile(specIn({}, [tmpfs]), own))
      .to.throw('mount /t: idmap')
      .with.property('code', 'Unimplemented');
  });

  it('has no group of terminals that is not mapped, and no user either', () => {
    const few = {
      uidMappings: [{ containerID: 0, hostID: 9, size: 2 }],
      gidMappings: [{ containerID: 0, hostID: 9, size: 2 }],
    };
    const options = (plan: Plan) =>
      plan.child.find((step) => step.kind === 'fs-mount' && step.type === 'devpts');
    expect(options(compile(specIn(), own)))
      .to.have.property('options')
      .that.includes('gid=5');
    expect(options(compile(specIn(few), own)))
      .to.have.property('options')
      .that.does.not.include('gid=5');
    const process = { ...usualSpec.process, user: { uid: 2, gid: 0 } };
    expect(() => compile({ ...specIn(few), process }, own)).to.throw('process.user: 2:0 is not mapped');
  });

  it('owns the cgroup that it sees writable, where it sees nothing above', () => {
    const cgroup = { v1TasksPaths: [], unifiedPath: '/cg/k/1', directories: new Map([['', '/cg/k/1']]) };
    const given = (option: string, ...types: readonly 'cgroup'[]) => {
      const mount = { destination: '/sys/fs/cgroup', type: 'cgroup', options: [option] };
      const namespaces = [{ type: 'mount' } as const, joined('user'), ...types.map((type) => ({ type }))];
      return texts(compile(specIn({ namespaces }, [mount]), own, cgroup).parent, 'chown');
    };
    expect(given('ro', 'cgroup')).to.deep.equal([]);
    expect(given('rw')).to.deep.equal([]);
    expect(given('rw', 'cgroup')).to.deep.equal(
      ['', '/cgroup.procs', '/cgroup.subtree_control', '/cgroup.threads'].map(
        (name) => `chown path=/cg/k/1${name} uid=100000 gid=100000`,
      ),
    );
  });

  it('is entered by an exec with all its namespaces at once', () => {
    const { parent, child } = compileExecPlan({
      spec: specIn(),
      process: usualSpec.process,
      init: { pid: 99, startTime: '8' },
      sharedPid: false,
      cgroup: { v1TasksPaths: [], unifiedPath: undefined },
      seccomp: undefined,
      fileLimit: 1024,
      keyringName: 'podwright-1',
    });
    expect(kinds(parent)).to.deep.equal(['open', 'open-pid', 'stdio-owner', 'clone']);
    expect(texts(parent, 'open')).to.deep.equal(['open path=/proc/99/ns/pid flags=0x80000']);
    expect(texts(child, 'join', 'join-pid')[0]).to.equal('join flags=0x5e020000');
  });
});

describe('a spec with a user namespace', () => {
  const refused: readonly (readonly [string, Partial<NonNullable<Spec['linux']>>])[] = [
    ['linux.uidMappings must map id 0', { uidMappings: [] }],
    ['linux.gidMappings must map id 0', { gidMappings: [{ containerID: 1, hostID: 1, size: 1 }] }],
    ['linux.uidMappings needs a user namespace', { namespaces: [{ type: 'mount' }] }],
  ];
  for (const [says, linux] of refused) {
    it(`is refused: ${says}`, () => {
      expect(() => compile(specIn(linux), own))
        .to.throw(says)
        .with.property('code', 'InvalidArgument');
    });
  }
});
