import { binding } from './binding.js';
import type { Fd } from './binding.js';

/** BPF_PROG_LOAD of a cgroup device program; `instructions` are struct bpf_insn, little endian. */
export function bpfLoadCgroupDevice(instructions: Uint8Array): Fd {
  return binding.bpfLoadCgroupDevice(instructions);
}
/** BPF_PROG_ATTACH (BPF_F_ALLOW_MULTI) to a cgroup v2 directory; `replaceFd` replaces an attached program. */
export function bpfAttachCgroupDevice(cgroupFd: Fd, programFd: Fd, replaceFd?: Fd): void {
  binding.bpfAttachCgroupDevice(cgroupFd, programFd, replaceFd ?? -1);
}
/** BPF_PROG_QUERY: descriptors of the device programs attached to the cgroup. */
export function bpfQueryCgroupDevice(cgroupFd: Fd): readonly Fd[] {
  return binding.bpfQueryCgroupDevice(cgroupFd);
}
export function bpfDetachCgroupDevice(cgroupFd: Fd, programFd: Fd): void {
  binding.bpfDetachCgroupDevice(cgroupFd, programFd);
}
