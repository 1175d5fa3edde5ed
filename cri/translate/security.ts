import type { SecurityProfile } from '../../protos/gen/cri/runtime/v1/api.js';
import {
  type LinuxContainerSecurityContext,
  type SELinuxOption,
  SecurityProfile_ProfileType,
} from '../../protos/gen/cri/runtime/v1/api.js';
import { RuntimeError } from '../../runtime/errors.js';
import {
  checkAbsolutePath,
  checkCount,
  checkText,
  quote,
  refuse,
  unknownEnum,
  unsupported,
} from './check.js';

/** Which system call filter applies: none, ours, or the one in a file of the node. */
export type SeccompChoice =
  { readonly kind: 'none' } | { readonly kind: 'default' } | { readonly kind: 'file'; readonly path: string };

/** Security modules of the host, as far as requests name them. */
export interface SecurityHost {
  readonly apparmor: boolean;
  readonly selinux: boolean;
}

/**
 * The filter of a container. The old text form counts only where the new one is absent; without either there is none,
 * as with a privileged container.
 */
export function toSeccompChoice(
  security: Pick<LinuxContainerSecurityContext, 'privileged' | 'seccomp' | 'seccompProfilePath'> | undefined,
): SeccompChoice {
  const field = 'config.linux.security_context.seccomp';
  if (security === undefined) return { kind: 'none' };
  const choice =
    security.seccomp === undefined
      ? oldSeccomp(`${field}_profile_path`, security.seccompProfilePath)
      : newSeccomp(field, security.seccomp);
  return security.privileged ? { kind: 'none' } : choice;
}

function newSeccomp(field: string, { profileType, localhostRef }: SecurityProfile): SeccompChoice {
  if (profileType !== SecurityProfile_ProfileType.Localhost && localhostRef !== '') {
    throw refuse(`${field}.localhost_ref`, 'is for Localhost only');
  }
  switch (profileType) {
    case SecurityProfile_ProfileType.RuntimeDefault:
      return { kind: 'default' };
    case SecurityProfile_ProfileType.Unconfined:
      return { kind: 'none' };
    case SecurityProfile_ProfileType.Localhost:
      // The kubelet gives a path; the prefix is of the old form, which some clients still put here.
      return { kind: 'file', path: checkAbsolutePath(`${field}.localhost_ref`, withoutPrefix(localhostRef)) };
    default:
      throw unknownEnum(`${field}.profile_type`, profileType);
  }
}

function oldSeccomp(field: string, text: string): SeccompChoice {
  checkText(field, text, { mayBeEmpty: true });
  if (text === '' || text === 'unconfined') return { kind: 'none' };
  if (text === 'runtime/default' || text === 'docker/default') return { kind: 'default' };
  if (!text.startsWith('localhost/')) throw refuse(field, `${quote(text)} is not a kind of profile`);
  return { kind: 'file', path: checkAbsolutePath(field, withoutPrefix(text)) };
}

function withoutPrefix(text: string): string {
  return text.startsWith('localhost/') ? text.slice('localhost/'.length) : text;
}

/** Which AppArmor profile applies: none, ours, or one that the node has loaded under a name. */
export type ApparmorChoice =
  | { readonly kind: 'none' }
  | { readonly kind: 'default'; readonly asked: boolean }
  | { readonly kind: 'named'; readonly name: string };

/**
 * The profile of a container. CRI apparmor_profile: without any it has the default one; the old text form counts only where
 * the new one is absent. A host without AppArmor cannot do what the default promises, and nobody is refused for that.
 *
 * @throws FailedPrecondition where a profile of the node is asked for and the host has no AppArmor
 */
export function toApparmorChoice(
  security: Pick<LinuxContainerSecurityContext, 'privileged' | 'apparmor' | 'apparmorProfile'> | undefined,
  host: SecurityHost,
): ApparmorChoice {
  const field = 'config.linux.security_context.apparmor';
  const choice =
    security?.apparmor === undefined
      ? oldApparmor(`${field}_profile`, security?.apparmorProfile ?? '')
      : newApparmor(field, security.apparmor);
  if (security?.privileged === true) return { kind: 'none' };
  if (host.apparmor) return choice;
  if (choice.kind === 'named') {
    throw new RuntimeError('FailedPrecondition', field, { cause: 'AppArmor is not enabled on this host' });
  }
  return { kind: 'none' };
}

function newApparmor(field: string, { profileType, localhostRef }: SecurityProfile): ApparmorChoice {
  switch (profileType) {
    case SecurityProfile_ProfileType.RuntimeDefault:
      return { kind: 'default', asked: true };
    case SecurityProfile_ProfileType.Unconfined:
      return { kind: 'none' };
    case SecurityProfile_ProfileType.Localhost:
      // The prefix is of the old form, which some clients still put here.
      return { kind: 'named', name: checkText(`${field}.localhost_ref`, withoutPrefix(localhostRef)) };
    default:
      throw unknownEnum(`${field}.profile_type`, profileType);
  }
}

function oldApparmor(field: string, text: string): ApparmorChoice {
  checkText(field, text, { mayBeEmpty: true });
  if (text === 'unconfined') return { kind: 'none' };
  if (text === '' || text === 'runtime/default') return { kind: 'default', asked: text !== '' };
  if (!text.startsWith('localhost/') || text === 'localhost/') {
    throw refuse(field, `${quote(text)} is not a kind of profile`);
  }
  return { kind: 'named', name: withoutPrefix(text) };
}

/**
 * Without SELinux a label means nothing, to us as to every runtime: a manifest that is made for both kinds of nodes
 * must run.
 *
 * @throws Unimplemented where a label is asked for and the host has SELinux
 */
export function checkSelinux(field: string, options: SELinuxOption | undefined, host: SecurityHost): void {
  const label = options === undefined ? '' : `${options.user}${options.role}${options.type}${options.level}`;
  if (label === '') return;
  checkText(field, label);
  if (host.selinux) throw noSelinux(field);
}

/** Why a field that asks for a label is refused. */
export function noSelinux(field: string): RuntimeError {
  return unsupported(field, 'SELinux labels are');
}

/** Masked and read-only paths are exactly those of the request: empty lists are how an unmasked /proc is asked for. */
export function toGuardedPaths(security: LinuxContainerSecurityContext | undefined): {
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
} {
  if (security === undefined || security.privileged) return { maskedPaths: [], readonlyPaths: [] };
  return {
    maskedPaths: checkPaths('config.linux.security_context.masked_paths', security.maskedPaths),
    readonlyPaths: checkPaths('config.linux.security_context.readonly_paths', security.readonlyPaths),
  };
}

function checkPaths(field: string, paths: readonly string[]): readonly string[] {
  checkCount(field, paths, 1000);
  return paths.map((path, index) => checkAbsolutePath(`${field}[${index}]`, path));
}
