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

/**
 * AppArmor: what asks for nothing, or for the default where the host has no AppArmor, is accepted.
 *
 * @throws Unimplemented where a profile would have to be applied, FailedPrecondition where the host has none
 */
export function checkApparmor(
  security: Pick<LinuxContainerSecurityContext, 'privileged' | 'apparmor' | 'apparmorProfile'> | undefined,
  host: SecurityHost,
): void {
  const field = 'config.linux.security_context.apparmor';
  if (security === undefined) return;
  const profile =
    security.apparmor === undefined
      ? oldApparmor(`${field}_profile`, security.apparmorProfile)
      : newApparmor(field, security.apparmor);
  if (profile === 'none' || security.privileged) return;
  if (host.apparmor) throw unsupported(field, 'AppArmor profiles are');
  if (profile === 'localhost') {
    throw new RuntimeError('FailedPrecondition', field, { cause: 'AppArmor is not enabled on this host' });
  }
}

type ApparmorChoice = 'none' | 'default' | 'localhost';

function newApparmor(field: string, { profileType, localhostRef }: SecurityProfile): ApparmorChoice {
  switch (profileType) {
    case SecurityProfile_ProfileType.RuntimeDefault:
      return 'default';
    case SecurityProfile_ProfileType.Unconfined:
      return 'none';
    case SecurityProfile_ProfileType.Localhost:
      checkText(`${field}.localhost_ref`, localhostRef);
      return 'localhost';
    default:
      throw unknownEnum(`${field}.profile_type`, profileType);
  }
}

function oldApparmor(field: string, text: string): ApparmorChoice {
  checkText(field, text, { mayBeEmpty: true });
  if (text === '' || text === 'unconfined') return 'none';
  if (text === 'runtime/default') return 'default';
  if (!text.startsWith('localhost/') || text === 'localhost/') {
    throw refuse(field, `${quote(text)} is not a kind of profile`);
  }
  return 'localhost';
}

/** @throws FailedPrecondition where a label is asked for and the host has no SELinux, Unimplemented where it has */
export function checkSelinux(field: string, options: SELinuxOption | undefined, host: SecurityHost): void {
  const label = options === undefined ? '' : `${options.user}${options.role}${options.type}${options.level}`;
  if (label === '') return;
  checkText(field, label);
  if (host.selinux) throw unsupported(field, 'SELinux labels are');
  throw new RuntimeError('FailedPrecondition', field, { cause: 'SELinux is not enabled on this host' });
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
