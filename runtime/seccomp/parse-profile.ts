import { z } from 'zod';
import { RuntimeError, messageOf } from '../errors.js';
import type { Seccomp, SeccompSyscall } from '../spec/types.js';
import { toFilter, toFilterFlags } from './filter.js';

/**
 * Reads a profile file: the OCI's `linux.seccomp` object, or the form that Docker's profiles have, which adds `archMap`,
 * a single `name` beside `names`, and conditions under which a rule counts (`includes`, `excludes`). The conditions are
 * settled here, for a container's bounding set and this machine.
 *
 * @throws InvalidArgument naming the key
 */
export function parseProfile(text: string, capabilities: readonly string[] = []): Seccomp {
  const parsed = profileSchema.safeParse(parseJson(text));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const key = (issue?.path ?? [])
      .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
      .join('');
    throw new RuntimeError(
      'InvalidArgument',
      `seccomp profile: ${key.replace(/^\./, '')} ${issue?.message ?? 'is invalid'}`,
    );
  }
  const { archMap, syscalls = [], ...rest } = parsed.data;
  const profile: Seccomp = {
    ...rest,
    architectures: rest.architectures ?? architecturesFrom(archMap ?? []),
    syscalls: syscalls.filter((rule) => applies(rule, capabilities)).map(toSyscall),
  };
  toFilter(profile);
  toFilterFlags(profile);
  return profile;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new RuntimeError('InvalidArgument', `seccomp profile: no JSON: ${messageOf(error)}`);
  }
}

const names = z.array(z.string()).nullish();
const number = z.number().min(0);

const condition = z.object({ caps: names, arches: names, minKernel: z.string().nullish() }).nullish();

const ruleSchema = z.object({
  name: z.string().nullish(),
  names,
  action: z.string(),
  errnoRet: number.nullish(),
  args: z
    .array(z.object({ index: number, value: number.nullish(), valueTwo: number.nullish(), op: z.string() }))
    .nullish(),
  includes: condition,
  excludes: condition,
});

const absent = <T>(value: T | null | undefined): T | undefined => value ?? undefined;

const profileSchema = z.object({
  defaultAction: z.string(),
  defaultErrnoRet: number.nullish().transform(absent),
  architectures: names.transform(absent),
  archMap: z
    .array(z.object({ architecture: z.string(), subArchitectures: names }))
    .nullish()
    .transform(absent),
  flags: names.transform(absent),
  listenerPath: z.string().nullish().transform(absent),
  listenerMetadata: z.string().nullish().transform(absent),
  syscalls: z.array(ruleSchema).nullish().transform(absent),
});

type Rule = z.infer<typeof ruleSchema>;
type Condition = z.infer<typeof condition>;

/** Docker's names of architectures in conditions are Go's. */
const goArchitectures: Readonly<Partial<Record<NodeJS.Architecture, string>>> = {
  x64: 'amd64',
  ia32: '386',
  ppc64: 'ppc64le',
};
const goArchitecture = goArchitectures[process.arch] ?? process.arch;

function applies({ includes, excludes }: Rule, capabilities: readonly string[]): boolean {
  const holds = (name: string) => capabilities.includes(name);
  if (excludes?.caps?.some(holds) === true || excludes?.arches?.includes(goArchitecture) === true)
    return false;
  if (includes?.caps?.every(holds) === false) return false;
  return matchesMachine(includes);
}

/** Every kernel we run on is newer than any `minKernel` there is. */
function matchesMachine(includes: Condition): boolean {
  const arches = includes?.arches ?? [];
  return arches.length === 0 || arches.includes(goArchitecture);
}

function toSyscall({ name, names: more, action, errnoRet, args }: Rule): SeccompSyscall {
  const conditions = (args ?? []).map(({ index, value, valueTwo, op }) => ({
    index,
    value: value ?? 0,
    valueTwo: valueTwo ?? 0,
    op,
  }));
  return {
    names: [...(typeof name === 'string' ? [name] : []), ...(more ?? [])],
    action,
    ...(typeof errnoRet === 'number' ? { errnoRet } : {}),
    ...(conditions.length === 0 ? {} : { args: conditions }),
  };
}

const ociArchitectures: Readonly<Partial<Record<NodeJS.Architecture, string>>> = {
  x64: 'SCMP_ARCH_X86_64',
  arm64: 'SCMP_ARCH_AARCH64',
  arm: 'SCMP_ARCH_ARM',
  ppc64: 'SCMP_ARCH_PPC64LE',
  s390x: 'SCMP_ARCH_S390X',
  riscv64: 'SCMP_ARCH_RISCV64',
  loong64: 'SCMP_ARCH_LOONGARCH64',
};

function architecturesFrom(
  archMap: readonly { architecture: string; subArchitectures?: readonly string[] | null | undefined }[],
) {
  const own = archMap.find(({ architecture }) => architecture === ociArchitectures[process.arch]);
  return own === undefined ? [] : [own.architecture, ...(own.subArchitectures ?? [])];
}
