import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import fc from 'fast-check';
import { layoutByKind } from './layout.js';
import { maxSlots, slots, type Plan, type PlanStep } from './steps.js';
import { decodePlan, encodePlan, planFormat } from './wire.js';

const headerPath = new URL('../../../native/helper/plan_format.h', import.meta.url);

describe('the launch plan on the wire', () => {
  it('has the kinds and numbers of plan_format.h', async () => {
    const header = await readFile(headerPath, 'utf8');
    const kinds = enumValues(header, 'plan_kind');
    const ours = [...layoutByKind.values()].map(({ kind, code }) => [constantOf(kind), code]);
    expect(Object.fromEntries(ours)).to.deep.equal(kinds);
  });

  it('has the constants of plan_format.h', async () => {
    const header = await readFile(headerPath, 'utf8');
    const defined = (name: string) => {
      const text = new RegExp(`#define ${name} (.*)`).exec(header)?.[1] ?? '';
      const [, base = '', shift = '0'] = /\(?(\w+?)u?(?: << (\d+)\))?(?:\s|$)/.exec(text) ?? [];
      return Number(base) * 2 ** Number(shift);
    };
    expect(defined('PLAN_MAGIC')).to.equal(planFormat.magic);
    expect(defined('PLAN_VERSION')).to.equal(planFormat.version);
    expect(defined('PLAN_MAX_BYTES')).to.equal(planFormat.maxBytes);
    expect(defined('PLAN_MAX_STEPS')).to.equal(planFormat.maxSteps);
    expect(defined('PLAN_MAX_SLOTS')).to.equal(maxSlots);
    expect(defined('PLAN_NO_SLOT')).to.equal(planFormat.noSlot);
    expect({
      stdin: defined('PLAN_SLOT_STDIN'),
      stdout: defined('PLAN_SLOT_STDOUT'),
      stderr: defined('PLAN_SLOT_STDERR'),
      execFifo: defined('PLAN_SLOT_EXEC_FIFO'),
      console: defined('PLAN_SLOT_CONSOLE'),
      passed: defined('PLAN_SLOT_PASSED'),
      free: defined('PLAN_SLOT_FREE'),
    }).to.deep.equal(slots);
  });

  it('lays out a step as the header says', () => {
    const plan: Plan = {
      parent: [],
      child: [{ kind: 'user', uid: 1, gid: 2, groups: [3], keepGroups: true }],
    };
    const bytes = encodePlan(plan);
    expect(bytes.toString('hex')).to.equal(
      '5057504c' +
        '01000000' +
        '30000000' +
        '00000000' +
        '01000000' + // header
        '40000100' +
        '14000000' + // kind and flags, length
        '01000000' +
        '02000000' +
        'ffffffff' +
        '01000000' +
        '03000000',
    );
  });

  it('pads texts and bytes to four', () => {
    const bytes = encodePlan({ parent: [{ kind: 'write', slot: 16, data: Buffer.from('0') }], child: [] });
    expect(bytes.subarray(20).toString('hex')).to.equal(
      '02000000' + '0c000000' + '10000000' + '01000000' + '30000000',
    );
    const named = encodePlan({ parent: [], child: [{ kind: 'hostname', name: 'abc' }] });
    expect(named.subarray(20).toString('hex')).to.equal('23000000' + '08000000' + '04000000' + '61626300');
  });

  it('gives back what was encoded', () => {
    const plan: Plan = { parent: [...sampleSteps], child: [...sampleSteps] };
    expect(decodePlan(encodePlan(plan))).to.deep.equal(plan);
  });

  it('refuses a NUL byte by the name of its field', () => {
    const step: PlanStep = { kind: 'chdir', path: '/a\0b', create: false, about: 'working directory' };
    expect(() => encodePlan({ parent: [], child: [step] })).to.throw(
      'working directory: path has a NUL byte',
    );
  });

  it('refuses numbers that do not fit', () => {
    const step = (uid: number): PlanStep => ({ kind: 'stdio', uid, gid: 0 });
    for (const uid of [-1, 2 ** 32, 0.5, NaN])
      expect(() => encodePlan({ parent: [], child: [step(uid)] }), String(uid)).to.throw('out of range');
  });

  it('refuses a plan that is too large', () => {
    const exec = (environment: string[]): Plan => ({
      parent: [],
      child: [{ kind: 'exec', preserve: 0, argv: ['a'], environment }],
    });
    const ascii = exec(['x'.repeat(1_000_000)]);
    expect(decodePlan(encodePlan(ascii))).to.deep.equal(ascii);
    for (const length of [1 << 20, 5 << 20, 20 << 20])
      expect(() => encodePlan(exec(['x'.repeat(length)])), String(length)).to.throw('too large');
    expect(() => encodePlan({ parent: Array<PlanStep>(16_385).fill({ kind: 'pause' }), child: [] })).to.throw(
      'too large',
    );
    expect(encodePlan({ parent: [], child: [] })).to.have.length(20);
  });

  it('is never confused by damaged bytes', () => {
    const good = encodePlan({ parent: [...sampleSteps], child: [...sampleSteps] });
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.integer({ min: 0, max: 255 }), (at, value) => {
        const bytes = Buffer.from(good);
        bytes[at] = value;
        try {
          decodePlan(bytes);
        } catch (error) {
          expect(error).to.have.property('code', 'InvalidArgument');
        }
      }),
    );
    for (let length = 0; length < good.length; length += 7)
      expect(() => decodePlan(good.subarray(0, length))).to.throw('not a launch plan');
  });
});

const sampleSteps: readonly PlanStep[] = [
  { kind: 'open', out: 16, dir: 17, path: '/sys', flags: 0x200000, mode: 0, resolve: 16 },
  {
    kind: 'fs-mount',
    out: 18,
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['size=1', 'mode=755'],
    attributes: 6,
  },
  { kind: 'fs-mount', out: 18, type: 'proc', source: '', options: [], attributes: 0 },
  { kind: 'move-mount', slot: 18, root: 17, path: '/proc', create: 'directory' },
  { kind: 'move-mount', slot: 18, path: '/proc', create: 'no' },
  { kind: 'sub-tree', slot: 18, path: 'a/b' },
  { kind: 'mount-setattr', slot: 18, recursive: true, set: 1, clear: 0x70, propagation: 1 << 18 },
  { kind: 'oom-score-adj', value: -999 },
  { kind: 'chown', path: '/sys/fs/cgroup/k', uid: 100_000, gid: 100_000 },
  { kind: 'stdio-owner', uid: 100_000, gid: 100_000 },
  {
    kind: 'idmapped-overlay',
    out: 18,
    layersDir: '/layers',
    lower: ['2', '1'],
    upper: '/upper',
    work: '/work',
    options: [],
    attributes: 2,
    userNamespace: 19,
  },
  { kind: 'open-pid', out: 20, pid: 77, startTime: 1n << 40n },
  { kind: 'rlimit', resource: 7, soft: 1024n, hard: (1n << 64n) - 1n },
  { kind: 'user', uid: 4294967294, gid: 5, umask: 0o22, groups: [] },
  { kind: 'seccomp', flags: 4, bpf: Buffer.from('0123456789'), listenerMetadata: Buffer.alloc(0) },
  { kind: 'link-set', name: 'eth0', state: 'up', master: '', hairpin: true },
  { kind: 'address', link: 'eth0', address: Buffer.from([10, 0, 0, 1]), prefixLength: 24 },
  { kind: 'setsid' },
  { kind: 'exec', preserve: 0, argv: ['sh', '-c', 'größe'], environment: ['A=b'] },
];

function enumValues(header: string, name: string): Record<string, number> {
  const body = new RegExp(`enum ${name} \\{([^]*?)\\n\\};`).exec(header)?.[1] ?? '';
  const code = body.replace(/\/\*[^]*?\*\//g, '');
  return Object.fromEntries(
    [...code.matchAll(/(\w+) = (\d+)/g)].map(([, key = '', value]): [string, number] => [key, Number(value)]),
  );
}

function constantOf(kind: string): string {
  return `PLAN_${kind.toUpperCase().replaceAll('-', '_')}`;
}
