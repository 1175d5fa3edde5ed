import { RuntimeError } from '../errors.js';
import { capabilityMask } from '../spec/capabilities.js';
import { rlimitNumber } from '../spec/rlimits.js';
import type { Capabilities, Process, Rlimit } from '../spec/types.js';
import { RLIM_INFINITY } from './kernel.js';
import type { SeccompProgram } from '../seccomp/index.js';
import type { PlanStep, StdioOwnerStep } from './steps.js';
import { type IdMaps, hostIdOf } from './user-namespace.js';

export interface ProcessOptions {
  readonly process: Process;
  readonly seccomp: SeccompProgram | undefined;
  readonly fileLimit: number;
  readonly keyringName: string;
  /** Init waits on the exec fifo and brings the container's /dev/console; an exec does neither. */
  readonly role: 'init' | 'exec';
}

/** Standard streams of the process: inherited descriptors, or a terminal of the container's own devpts. */
export function stdioSteps({ process, role }: ProcessOptions): readonly PlanStep[] {
  const { uid, gid } = process.user;
  const session: PlanStep = { kind: 'setsid' };
  if (process.terminal !== true)
    return [session, { kind: 'stdio', uid, gid, about: 'set up standard input and output' }];
  const { width = 0, height = 0 } = process.consoleSize ?? {};
  const console: PlanStep = {
    kind: 'console',
    columns: width,
    rows: height,
    uid,
    gid,
    about: 'set up the terminal',
  };
  return [session, role === 'exec' ? { ...console, keepDevConsole: true } : console];
}

/** In a user namespace the launcher gives the pipes to the user: the child's root has no right to what is the host's. */
export function stdioOwner({ terminal, user }: Process, maps: IdMaps | undefined): readonly StdioOwnerStep[] {
  if (maps === undefined) return [];
  const uid = hostIdOf(maps.uidMappings, user.uid);
  const gid = hostIdOf(maps.gidMappings, user.gid);
  if (uid === undefined || gid === undefined) {
    const why = `${user.uid}:${user.gid} is not mapped in the user namespace`;
    throw new RuntimeError('InvalidArgument', 'process.user', { cause: why });
  }
  if (terminal === true) return [];
  return [{ kind: 'stdio-owner', uid, gid, about: 'give standard input and output to the user' }];
}

/**
 * From root in the container to the command.
 *
 * The filter comes as late as it can, so that the profile need only allow what follows it. Without no_new_privs the
 * kernel wants CAP_SYS_ADMIN for it, so it precedes the capabilities; with it, it is the last thing before execve.
 */
export function processSteps(options: ProcessOptions): readonly PlanStep[] {
  const { process, keyringName, fileLimit, role } = options;
  const filter = seccompSteps(options);
  const noNewPrivs = process.noNewPrivileges === true;
  return [
    { kind: 'keyring', name: keyringName, about: 'make a session keyring' },
    ...rlimitSteps(process.rlimits ?? [], fileLimit),
    ...labelSteps(process),
    { kind: 'cap-bounding', mask: maskOf(process.capabilities, 'bounding'), about: 'drop capabilities' },
    userStep(process),
    ...chdirSteps(process),
    ...(noNewPrivs ? [] : filter),
    capabilityStep(process.capabilities),
    ...(noNewPrivs ? [{ kind: 'no-new-privs', about: 'set no_new_privs' } as const] : []),
    ...(role === 'init' ? [{ kind: 'exec-fifo', about: 'wait for the start' } as const] : []),
    ...(noNewPrivs ? filter : []),
    execStep(process),
  ];
}

function seccompSteps({ seccomp }: ProcessOptions): readonly PlanStep[] {
  if (seccomp === undefined) return [];
  const { bpf, flags } = seccomp;
  return [
    { kind: 'seccomp', flags, bpf, listenerMetadata: new Uint8Array(), about: 'install the seccomp filter' },
  ];
}

function rlimitSteps(rlimits: readonly Rlimit[], fileLimit: number): readonly PlanStep[] {
  const asked = new Map(
    rlimits.map(({ type, soft, hard }) => [type, { soft: limitOf(soft), hard: limitOf(hard) }]),
  );
  const hard = BigInt(fileLimit);
  // The daemon runs with its soft limit raised; select(2) in a container must not meet descriptors above 1024.
  if (!asked.has('RLIMIT_NOFILE')) asked.set('RLIMIT_NOFILE', { soft: hard < 1024n ? hard : 1024n, hard });
  return [...asked].map(([type, { soft, hard }]) => ({
    kind: 'rlimit',
    resource: rlimitNumber(type),
    soft,
    hard,
    about: `set ${type}`,
  }));
}

/** JSON has no 2^64-1: whatever is at or beyond 2^63 means no limit. */
function limitOf(value: number): bigint {
  return value >= 2 ** 63 || value === -1 ? RLIM_INFINITY : BigInt(value);
}

function labelSteps({ apparmorProfile = '', selinuxLabel = '' }: Process): readonly PlanStep[] {
  return [
    ...(apparmorProfile === ''
      ? []
      : [
          {
            kind: 'apparmor',
            profile: apparmorProfile,
            about: `apply the AppArmor profile ${apparmorProfile}`,
          } as const,
        ]),
    ...(selinuxLabel === ''
      ? []
      : [
          { kind: 'selinux', label: selinuxLabel, about: `apply the SELinux label ${selinuxLabel}` } as const,
        ]),
  ];
}

function userStep({ user }: Process): PlanStep {
  const { uid, gid, umask, additionalGids: groups = [] } = user;
  return { kind: 'user', uid, gid, umask, groups, about: `become user ${uid}:${gid}` };
}

/** As the user, but with root's permitted capabilities: a directory that the user may not search is still reached, one on NFS too. */
function chdirSteps({ cwd }: Process): readonly PlanStep[] {
  return cwd === '/' ? [] : [{ kind: 'chdir', path: cwd, create: false, about: `working directory ${cwd}` }];
}

function maskOf(capabilities: Capabilities | undefined, set: keyof Capabilities): bigint {
  const mask = capabilityMask(capabilities?.[set] ?? []);
  if (mask === undefined)
    throw new RuntimeError('InvalidArgument', `process.capabilities.${set}: unknown capability`);
  return mask;
}

/** The kernel keeps ambient capabilities only if they are both permitted and inheritable. */
function capabilityStep(capabilities: Capabilities | undefined): PlanStep {
  const permitted = maskOf(capabilities, 'permitted');
  const inheritable = maskOf(capabilities, 'inheritable');
  const effective = maskOf(capabilities, 'effective') & permitted;
  const ambient = maskOf(capabilities, 'ambient') & permitted & inheritable;
  return { kind: 'capabilities', effective, permitted, inheritable, ambient, about: 'set capabilities' };
}

function execStep({ args, env = [] }: Process): PlanStep {
  return {
    kind: 'exec',
    preserve: 0,
    argv: args,
    environment: env,
    about: `exec ${JSON.stringify(args[0] ?? '')}`,
  };
}
