import type { DevicePolicy } from './devices.js';

// linux/bpf_common.h and bpf.h
const BPF_LDX_MEM_W = 0x61;
const BPF_MOV_REG = 0xbf;
const BPF_MOV_IMM = 0xb7;
const BPF_AND_IMM = 0x57;
const BPF_RSH_IMM = 0x77;
const BPF_JNE_IMM = 0x55;
const BPF_JEQ_IMM = 0x15;
const BPF_JNE_REG = 0x5d;
const BPF_EXIT = 0x95;

// BPF_DEVCG_*: struct bpf_cgroup_dev_ctx { u32 access_type (access << 16 | type), u32 major, u32 minor }
const typeBits = { b: 1, c: 2 } as const;
const accessBits: Readonly<Record<string, number>> = { m: 1, r: 2, w: 4 };

/**
 * The policy as a BPF_PROG_TYPE_CGROUP_DEVICE program (struct bpf_insn, little endian). With a default of deny an exception
 * allows when it covers the whole request, with a default of allow it denies when it touches any part of it.
 */
export function deviceProgram({ allowByDefault, exceptions }: DevicePolicy): Uint8Array {
  const code: number[][] = [
    insn(BPF_LDX_MEM_W, [2, 1], 0), // r2 = access_type
    insn(BPF_MOV_REG, [3, 2]),
    insn(BPF_RSH_IMM, [3], 0, 16), // r3 = access
    insn(BPF_AND_IMM, [2], 0, 0xffff), // r2 = type
    insn(BPF_LDX_MEM_W, [4, 1], 4), // r4 = major
    insn(BPF_LDX_MEM_W, [5, 1], 8), // r5 = minor
  ];
  for (const exception of exceptions) code.push(...exceptionCode(exception, allowByDefault));
  code.push(...answer(allowByDefault));
  return Buffer.from(code.flat());
}

function exceptionCode(exception: DevicePolicy['exceptions'][number], allowByDefault: boolean): number[][] {
  const bits = [...exception.access].reduce((sum, letter) => sum | (accessBits[letter] ?? 0), 0);
  // Each test jumps behind the block when it does not fit; the offsets are filled in once the length is known.
  const tests: ((skip: number) => number[])[] = [
    (skip) => insn(BPF_JNE_IMM, [2], skip, typeBits[exception.type]),
  ];
  if (exception.major >= 0) tests.push((skip) => insn(BPF_JNE_IMM, [4], skip, exception.major));
  if (exception.minor >= 0) tests.push((skip) => insn(BPF_JNE_IMM, [5], skip, exception.minor));
  if (bits !== 7) {
    tests.push(
      () => insn(BPF_MOV_REG, [1, 3]),
      () => insn(BPF_AND_IMM, [1], 0, bits),
      (skip) => (allowByDefault ? insn(BPF_JEQ_IMM, [1], skip, 0) : insn(BPF_JNE_REG, [1, 3], skip)),
    );
  }
  const body = answer(!allowByDefault);
  return [...tests.map((test, index) => test(tests.length - index - 1 + body.length)), ...body];
}

function answer(allow: boolean): number[][] {
  return [insn(BPF_MOV_IMM, [0], 0, allow ? 1 : 0), insn(BPF_EXIT, [0])];
}

/** Registers: destination, and source where the operation has one. */
function insn(
  code: number,
  [destination, source = 0]: readonly number[],
  offset = 0,
  immediate = 0,
): number[] {
  return [
    code,
    (source << 4) | (destination ?? 0),
    offset & 0xff,
    (offset >> 8) & 0xff,
    immediate & 0xff,
    (immediate >>> 8) & 0xff,
    (immediate >>> 16) & 0xff,
    (immediate >>> 24) & 0xff,
  ];
}
