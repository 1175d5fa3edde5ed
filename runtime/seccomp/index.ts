import { createHash } from 'node:crypto';
import { compileSeccomp, seccompVersion } from '../../native/index.js';
import type { Logger } from '../base/logger.js';
import { RuntimeError, messageOf, wrapError } from '../errors.js';
import type { Seccomp } from '../spec/types.js';
import { buildDefaultProfile, relevantCapabilities } from './default-profile.js';
import { type DiskCache, openDiskCache } from './disk-cache.js';
import { toFilter, toFilterFlags } from './filter.js';
import { parseProfile } from './parse-profile.js';
import { shrink } from './shrink.js';

/** A compiled profile: what the helper's seccomp step installs. */
export interface SeccompProgram {
  /** Array of struct sock_filter. */
  readonly bpf: Buffer;
  /** SECCOMP_FILTER_FLAG_* */
  readonly flags: number;
}

/**
 * Seccomp profiles and their programs.
 *
 * A profile is an OCI `linux.seccomp` object. Compiling one takes 15-30 ms on a worker thread, so programs are kept in
 * memory by the profile's identity and digest, and on disk by digest, architecture and libseccomp version. Concurrent
 * calls for the same profile share one compilation. The default profile is compiled at start.
 */
export interface SeccompProfiles {
  /** RuntimeDefault for a bounding set; the same value for sets that make no difference. */
  defaultProfile(capabilities: readonly string[]): Seccomp;
  /** A profile file's text, its conditions settled for the bounding set. @throws InvalidArgument naming the key */
  parseProfile(text: string, capabilities?: readonly string[]): Seccomp;
  /** @throws InvalidArgument for a profile that makes no sense; may be repeated */
  compile(profile: Seccomp): Promise<SeccompProgram>;
}

export interface SeccompOptions {
  readonly cacheDir: string;
  readonly logger: Logger;
}

/** Programs of profiles that only single containers use need not stay for ever. */
const MAX_PROGRAMS = 64;

/** Part of the cache's keys: how programs are made of what libseccomp writes. */
const PROGRAM_FORM = 'ranges';

/** What containers have unless they ask for more or less: the set that Docker chose and Kubernetes kept. */
const usualCapabilities: readonly string[] = ['CAP_SYS_CHROOT'];

export async function openSeccomp({ cacheDir, logger }: SeccompOptions): Promise<SeccompProfiles> {
  const disk = await openDiskCache(cacheDir);
  const defaults = new Map<string, Seccomp>();
  const byIdentity = new WeakMap<Seccomp, Promise<SeccompProgram>>();
  const byDigest = new Map<string, Promise<SeccompProgram>>();

  const compile = (profile: Seccomp): Promise<SeccompProgram> => {
    const known = byIdentity.get(profile);
    if (known !== undefined) return known;
    const key = keyOf(profile);
    const program = byDigest.get(key) ?? makeProgram(profile, { key, disk, logger });
    byIdentity.set(profile, program);
    remember(byDigest, key, program);
    program.catch(() => {
      byIdentity.delete(profile);
      byDigest.delete(key);
    });
    return program;
  };

  const profiles: SeccompProfiles = {
    defaultProfile: (capabilities) => {
      const key = relevantCapabilities(capabilities).join();
      const profile = defaults.get(key) ?? buildDefaultProfile(capabilities);
      defaults.set(key, profile);
      return profile;
    },
    parseProfile,
    compile,
  };
  compile(profiles.defaultProfile(usualCapabilities)).catch((error: unknown) => {
    logger.error('the default seccomp profile cannot be compiled', { error: messageOf(error) });
  });
  return profiles;
}

function keyOf(profile: Seccomp): string {
  return createHash('sha256')
    .update(`${PROGRAM_FORM} ${process.arch} ${seccompVersion()} ${JSON.stringify(profile)}`)
    .digest('hex');
}

function remember(
  programs: Map<string, Promise<SeccompProgram>>,
  key: string,
  program: Promise<SeccompProgram>,
): void {
  programs.delete(key);
  programs.set(key, program);
  const [oldest] = programs.keys();
  if (programs.size > MAX_PROGRAMS && oldest !== undefined) programs.delete(oldest);
}

interface Compilation {
  readonly key: string;
  readonly disk: DiskCache;
  readonly logger: Logger;
}

async function makeProgram(profile: Seccomp, { key, disk, logger }: Compilation): Promise<SeccompProgram> {
  const flags = toFilterFlags(profile);
  const filter = toFilter(profile);
  const warn = (error: unknown) => {
    logger.warn('the seccomp cache cannot be used', { error: messageOf(error) });
    return undefined;
  };
  const kept = await disk.read(key).catch(warn);
  if (kept !== undefined) return { bpf: kept, flags };
  const { bpf, unknown } = await compileSeccomp(filter).catch((error: unknown) => {
    throw refusal(error);
  });
  if (unknown.length > 0) logger.debug('the seccomp profile names calls nobody knows', { names: unknown });
  const program = shrink(bpf);
  await disk.write(key, program).catch(warn);
  return { bpf: program, flags };
}

/** libseccomp says EINVAL or ENOENT for what the profile asks, anything else is trouble of the host. */
function refusal(error: unknown): RuntimeError {
  const wrapped = wrapError('compile the seccomp profile', error);
  const asked =
    error instanceof Error &&
    'code' in error &&
    ['EINVAL', 'E2BIG', 'EDOM', 'ENOENT', 'EFAULT'].includes(String(error.code));
  return asked ? new RuntimeError('InvalidArgument', wrapped.op, { cause: error }) : wrapped;
}
