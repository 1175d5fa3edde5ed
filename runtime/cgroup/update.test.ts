import path from 'node:path';
import { expect } from 'chai';
import { inOrder, undoOf } from './update.js';

/** Names of the files in the order in which they are written. */
function orderOf(changes: Readonly<Record<string, readonly [value: string, old: string]>>): string[] {
  const writes = Object.entries(changes).map(([file, [data]]) => ({
    op: 'write' as const,
    path: `/c/${file}`,
    data,
  }));
  const found = Object.values(changes).map(([, old]) => `${old}\n`);
  return inOrder(writes, found).map(({ write }) => path.basename(write.path));
}

describe('limits of a cgroup in use', () => {
  const memory = ['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes'] as const;
  for (const [name, limit, sum, first] of [
    ['grow beyond the old sum', ['200', '50'], ['200', '100'], memory[1]],
    ['grow below it', ['80', '50'], ['200', '100'], memory[0]],
    ['shrink', ['20', '50'], ['40', '100'], memory[0]],
    ['are lifted', ['-1', '50'], ['-1', '100'], memory[1]],
    ['are set after none', ['20', '9223372036854771712'], ['20', '9223372036854771712'], memory[0]],
  ] as const) {
    it(`of memory that ${name} start with ${first}`, () => {
      expect(orderOf({ [memory[0]]: limit, [memory[1]]: sum })[0]).to.equal(first);
    });
  }

  const cpu = ['cpu.cfs_period_us', 'cpu.cfs_quota_us'] as const;
  for (const [name, period, quota, first] of [
    ['a longer period', ['200000', '100000'], ['80000', '50000'], cpu[0]],
    ['a shorter period', ['50000', '100000'], ['25000', '50000'], cpu[1]],
    ['the same period', ['100000', '100000'], ['25000', '50000'], cpu[0]],
  ] as const) {
    it(`of the cpu with ${name} start with ${first}`, () => {
      expect(orderOf({ [cpu[0]]: period, [cpu[1]]: quota })[0]).to.equal(first);
    });
  }

  it('are taken back line by line, and what had none before becomes unset', () => {
    const undo = (file: string, data: string, old: string): string[] =>
      undoOf({ op: 'write', path: `/c/${file}`, data }, old).map((write) => write.data);
    expect(undo('memory.max', '5', 'max')).to.deep.equal(['max']);
    expect(undo('cpuset.cpus', '0', '')).to.deep.equal(['\n']);
    expect(undo('io.max', '8:0 rbps=5', '8:0 rbps=max wbps=9\n8:1 rbps=7')).to.deep.equal([
      '8:0 rbps=max wbps=9',
      '8:1 rbps=7',
    ]);
    expect(undo('io.max', '8:0 rbps=5', '')).to.deep.equal(['8:0 rbps=max wbps=max riops=max wiops=max']);
    expect(undo('io.weight', '8:0 50', 'default 100')).to.deep.equal(['8:0 default', 'default 100']);
    expect(undo('devices.allow', 'a', '')).to.deep.equal([]);
  });
});
