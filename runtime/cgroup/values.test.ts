import { expect } from 'chai';
import { RuntimeError } from '../errors.js';
import { deviceProgram } from './device-program.js';
import { completeDeviceRules, deviceWritesV1, foldDeviceRules } from './devices.js';
import { parseMountinfo } from './layout.js';
import { valuesV1 } from './values-v1.js';
import { valuesV2, weightOfShares } from './values-v2.js';

const plain = (values: readonly { file: string; value: string }[]): string[] =>
  values.map(({ file, value }) => `${file}=${value}`);

describe('cgroup limits', () => {
  it('writes v1 files with the period before the quota', () => {
    const resources = {
      cpu: { shares: 512, quota: 50000, period: 100000 },
      memory: { limit: 1 << 20, swap: 2 << 20 },
      pids: { limit: -1 },
    };
    expect(plain(valuesV1(resources))).to.deep.equal([
      'cpu.shares=512',
      'cpu.cfs_period_us=100000',
      'cpu.cfs_quota_us=50000',
      'memory.limit_in_bytes=1048576',
      'memory.memsw.limit_in_bytes=2097152',
      'pids.max=max',
    ]);
  });

  it('writes v2 files, swap without memory', () => {
    const resources = {
      cpu: { shares: 1024, quota: -1, period: 100000 },
      memory: { limit: 1 << 20, swap: 3 << 20 },
      unified: { 'memory.high': '1000' },
    };
    expect(plain(valuesV2(resources))).to.deep.equal([
      'cpu.weight=100',
      'cpu.max=max 100000',
      'memory.swap.max=2097152',
      'memory.max=1048576',
      'memory.high=1000',
    ]);
  });

  it('maps the ends and the default of shares to those of weights', () => {
    expect([2, 1024, 262144].map(weightOfShares)).to.deep.equal([1, 100, 10000]);
  });

  for (const file of ['cgroup.procs', '../x', 'memory/../cpu.max', 'memory', 'memory.max\0', '/memory.max']) {
    it(`refuses the unified key ${JSON.stringify(file)}`, () => {
      expect(() => valuesV2({ unified: { [file]: '1' } })).to.throw(RuntimeError, 'unified');
    });
  }

  it('refuses unified keys on v1', () => {
    expect(() => valuesV1({ unified: { 'memory.max': '1' } })).to.throw(RuntimeError, 'cgroup v2');
  });
});

describe('device rules', () => {
  const deny = { allow: false, access: 'rwm' };

  it('keeps what every container may use', () => {
    const writes = deviceWritesV1(completeDeviceRules([deny])).map(({ file, value }) => `${file} ${value}`);
    expect(writes[0]).to.equal('devices.deny a');
    expect(writes).to.include('devices.allow c 1:3 rwm');
    expect(writes).to.include('devices.allow c 136:* rwm');
  });

  it('folds rules to a default and its exceptions', () => {
    const rules = completeDeviceRules([
      deny,
      { allow: true, type: 'b', major: 8, minor: 0, access: 'r' },
      { allow: true, type: 'b', major: 8, minor: 0, access: 'w' },
    ]);
    const policy = foldDeviceRules(rules);
    expect(policy.allowByDefault).to.equal(false);
    expect(policy.exceptions).to.deep.include({ type: 'b', major: 8, minor: 0, access: 'rw' });
  });

  it('answers as the kernel would, by interpreting the program', () => {
    const rules = completeDeviceRules([
      deny,
      { allow: true, type: 'b', major: 8, minor: 0, access: 'rw' },
      { allow: false, type: 'c', major: 5, minor: 0, access: 'w' },
    ]);
    const program = deviceProgram(foldDeviceRules(rules));
    const ask = (type: number, access: number, major: number, minor: number): number =>
      interpret(program, [(access << 16) | type, major, minor]);
    expect(ask(1, 2, 8, 0), 'read of 8:0').to.equal(1);
    expect(ask(1, 6, 8, 0), 'read and write of 8:0').to.equal(1);
    expect(ask(1, 2, 8, 1), 'read of 8:1').to.equal(0);
    expect(ask(1, 1, 8, 1), 'mknod of 8:1').to.equal(1);
    expect(ask(2, 6, 1, 3), 'null').to.equal(1);
    expect(ask(2, 2, 10, 200), 'tun').to.equal(0);
  });

  for (const rule of [{ type: 'x' }, { access: 'q' }, { major: -2 }, { minor: 1.5 }]) {
    it(`refuses ${JSON.stringify(rule)}`, () => {
      expect(() => completeDeviceRules([{ allow: true, ...rule }])).to.throw(
        RuntimeError,
        'linux.resources.devices[0]',
      );
    });
  }
});

describe('cgroup layout', () => {
  it('reads a hybrid host', () => {
    const text = [
      '31 23 0:27 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw,nsdelegate',
      '32 23 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct',
      '33 23 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd',
    ].join('\n');
    const { v1, unified } = parseMountinfo(text);
    expect(unified).to.equal('/sys/fs/cgroup/unified');
    expect(v1.map((hierarchy) => hierarchy.controllers)).to.deep.equal([
      ['cpu', 'cpuacct'],
      ['name=systemd'],
    ]);
  });
});

/** Enough of the eBPF machine for the instructions we emit. */
function interpret(program: Uint8Array, context: readonly number[]): number {
  const view = Buffer.from(program);
  const registers = new Array<number>(11).fill(0);
  for (let at = 0, steps = 0; steps < 10_000; steps++, at++) {
    const code = view.readUInt8(at * 8);
    const destination = view.readUInt8(at * 8 + 1) & 15;
    const source = view.readUInt8(at * 8 + 1) >> 4;
    const offset = view.readInt16LE(at * 8 + 2);
    const immediate = view.readInt32LE(at * 8 + 4);
    const left = registers[destination] ?? 0;
    const right = registers[source] ?? 0;
    if (code === 0x61) registers[destination] = context[offset / 4] ?? 0;
    else if (code === 0xbf) registers[destination] = right;
    else if (code === 0xb7) registers[destination] = immediate;
    else if (code === 0x57) registers[destination] = left & immediate;
    else if (code === 0x77) registers[destination] = left >>> immediate;
    else if (code === 0x55) at += left === immediate ? 0 : offset;
    else if (code === 0x15) at += left === immediate ? offset : 0;
    else if (code === 0x5d) at += left === right ? 0 : offset;
    else if (code === 0x95) return registers[0] ?? 0;
    else throw new Error(`unknown instruction ${code}`);
  }
  throw new Error('program does not end');
}
