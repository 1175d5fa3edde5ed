import { readFile } from 'node:fs/promises';
import { RuntimeError, wrapError } from '../errors.js';
import type { ProgramCall, ProgramResult } from '../network/program.js';
import { defaultProfile, defaultProfileName } from './default-profile.js';

/**
 * AppArmor profiles of a host whose kernel enforces them. A profile is code in the kernel under a name: a container only
 * names it (OCI `process.apparmorProfile`), and execve fails if it is not there.
 */
export interface ApparmorProfiles {
  /**
   * Sees to it that the default profile is loaded; compiles it at the first call, or again if somebody unloaded it.
   *
   * @returns its name
   * @throws FailedPrecondition where the host has no apparmor_parser, Unavailable with what it said
   */
  loadDefault(): Promise<string>;
  /** @throws FailedPrecondition if no profile of this name is loaded */
  checkLoaded(name: string): Promise<void>;
}

export interface ApparmorOptions {
  readonly callProgram: (call: ProgramCall, signal: AbortSignal) => Promise<ProgramResult>;
  /** Where the kernel lists them, one line per profile: `NAME (MODE)`. */
  readonly profilesFile?: string;
}

const kernelList = '/sys/kernel/security/apparmor/profiles';
const parser = 'apparmor_parser';
const parserTimeoutMs = 60_000;
/** env(1) on a command that does not exist. */
const noSuchCommand = 127;

export function openApparmor({ callProgram, profilesFile = kernelList }: ApparmorOptions): ApparmorProfiles {
  let loading: Promise<void> | undefined;
  const isLoaded = (name: string): Promise<boolean> => isListed(profilesFile, name);

  const load = async (): Promise<void> => {
    // A profile that an older daemon left may say something else: --replace.
    const call = { file: parser, args: ['--replace', '--skip-cache'], env: {}, input: defaultProfile };
    // Many containers may wait for this one call: none of them ends it.
    const never = new AbortController().signal;
    const { code, stderr } = await callProgram({ ...call, timeoutMs: parserTimeoutMs }, never);
    if (code === 0) return;
    if (code !== noSuchCommand) {
      throw new RuntimeError('Unavailable', 'load the AppArmor profile', {
        subject: defaultProfileName,
        cause: stderr.trim(),
      });
    }
    if (await isLoaded(defaultProfileName)) return;
    throw new RuntimeError('FailedPrecondition', 'load the AppArmor profile', {
      subject: defaultProfileName,
      cause: `this host has no ${parser} (Debian: package apparmor)`,
    });
  };

  return {
    loadDefault: async () => {
      if (loading !== undefined) {
        await loading;
        if (await isLoaded(defaultProfileName)) return defaultProfileName;
      }
      loading = load();
      loading.catch(() => (loading = undefined));
      await loading;
      return defaultProfileName;
    },
    checkLoaded: async (name) => {
      if (await isLoaded(name)) return;
      throw new RuntimeError('FailedPrecondition', 'AppArmor profile', {
        subject: name,
        cause: 'is not loaded on this host',
      });
    },
  };
}

/** Where the list is out of reach, execve is who tells. */
async function isListed(profilesFile: string, name: string): Promise<boolean> {
  try {
    return listed(await readFile(profilesFile, 'utf8'), name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return true;
    throw wrapError('list the AppArmor profiles', error);
  }
}

/** The mode stands in the last parentheses; a name may hold spaces and parentheses of its own. */
export function listed(profiles: string, name: string): boolean {
  return profiles
    .split('\n')
    .some((line) => line.startsWith(`${name} (`) && line.lastIndexOf(' (') === name.length);
}
