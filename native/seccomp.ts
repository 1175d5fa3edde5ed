import { binding } from './binding.js';

/** One rule of {@link compileSeccomp}: an action for the system calls named, under all of the conditions. */
export interface SeccompRule {
  readonly names: readonly string[];
  /** Raw SCMP_ACT_* value, errno or trace data included. */
  readonly action: number;
  readonly args: readonly {
    readonly index: number;
    readonly value: bigint;
    readonly valueTwo: bigint;
    /** Raw enum scmp_compare. */
    readonly op: number;
  }[];
}

export interface SeccompFilter {
  readonly defaultAction: number;
  /** Raw SCMP_ARCH_* tokens besides the native one. */
  readonly architectures: readonly number[];
  readonly rules: readonly SeccompRule[];
}

/**
 * Compiles with libseccomp (binary tree) on a worker thread: 15-30 ms.
 *
 * Conditions of one rule hold together, except that several on the same argument are alternatives. A rule that says
 * what the default says is left out. Calls newer than libseccomp answer ENOSYS instead of a forbidding default, so
 * that programs fall back to an older call; those of Linux up to 6.18 are known by number here, and a rule without
 * conditions decides them. Names that nobody knows, and conditions on such new calls, are skipped and returned.
 */
export function compileSeccomp(
  filter: SeccompFilter,
): Promise<{ readonly bpf: Buffer; readonly unknown: readonly string[] }> {
  return binding.compileSeccomp(filter.defaultAction, filter.architectures, filter.rules);
}
/** "2.5.4" */
export function seccompVersion(): string {
  return binding.seccompVersion();
}
