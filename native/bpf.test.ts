import { expect } from 'chai';
import { closeSync, existsSync, mkdirSync, openSync, rmdirSync } from 'node:fs';
import {
  bpfAttachCgroupDevice,
  bpfDetachCgroupDevice,
  bpfLoadCgroupDevice,
  bpfQueryCgroupDevice,
  closeFd,
  spawn,
  waitPidfd,
} from './index.js';
import type { Fd } from './index.js';

/** "r0 = answer; exit" */
function program(answer: 0 | 1): Uint8Array {
  return Uint8Array.from([0xb7, 0, 0, 0, answer, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]);
}

describe('cgroup device programs', () => {
  let cgroup: string;
  let directory: Fd;
  before(function () {
    const root = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].find((candidate) =>
      existsSync(`${candidate}/cgroup.controllers`),
    );
    if (root === undefined || process.getuid?.() !== 0) return this.skip(); // needs root and cgroup v2
    cgroup = `${root}/podwright-bpf-test-${process.pid}`;
    mkdirSync(cgroup);
    directory = openSync(cgroup, 'r');
  });
  after(() => {
    if (cgroup === undefined) return;
    closeSync(directory);
    rmdirSync(cgroup);
  });

  const attached = (): number => {
    const programs = bpfQueryCgroupDevice(directory);
    programs.forEach((fd) => closeFd(fd));
    return programs.length;
  };

  /** Whether a process of the cgroup may open /dev/zero. */
  const allowed = async (): Promise<boolean> => {
    const script = `echo 0 > ${cgroup}/cgroup.procs && exec 3< /dev/zero`;
    const status = await waitPidfd(
      spawn({ file: '/bin/sh', argv: ['sh', '-c', script], fds: [null, null, null] }).pidfd,
    );
    return status?.code === 0;
  };

  it('are loaded, attached, replaced, found and detached', async () => {
    const [allow, deny] = [bpfLoadCgroupDevice(program(1)), bpfLoadCgroupDevice(program(0))];
    expect(attached()).to.equal(0);
    bpfAttachCgroupDevice(directory, allow);
    expect(attached()).to.equal(1);
    expect(await allowed()).to.equal(true);
    bpfAttachCgroupDevice(directory, deny, allow);
    expect(attached()).to.equal(1);
    expect(await allowed()).to.equal(false);
    bpfDetachCgroupDevice(directory, deny);
    expect(attached()).to.equal(0);
    expect(await allowed()).to.equal(true);
    expect(() => bpfDetachCgroupDevice(directory, deny)).to.throw(/bpf BPF_PROG_DETACH: ENOENT/);
    [allow, deny].forEach((fd) => closeFd(fd));
  });

  it('are refused when they are none', () => {
    expect(() => bpfLoadCgroupDevice(new Uint8Array(7))).to.throw(/bpf BPF_PROG_LOAD: EINVAL/);
    expect(() => bpfLoadCgroupDevice(new Uint8Array(0))).to.throw(/bpf BPF_PROG_LOAD: EINVAL/);
    expect(() => bpfLoadCgroupDevice(program(1).subarray(0, 8))).to.throw(/bpf BPF_PROG_LOAD: E/);
  });
});
