import { open } from 'node:fs/promises';
import { constants } from 'node:fs';
import { RuntimeError, wrapCondition } from '../runtime/errors.js';
import type { Seccomp } from '../runtime/spec/types.js';
import type { Runtime } from '../runtime/index.js';
import type { SeccompChoice } from './translate/security.js';

const maxProfileBytes = 1024 * 1024;

/** The profile of a choice. @throws what reading or parsing the file says, with its path */
export async function loadSeccomp(
  choice: SeccompChoice,
  capabilities: readonly string[],
  profiles: Runtime['seccomp'],
): Promise<Seccomp | undefined> {
  switch (choice.kind) {
    case 'none':
      return undefined;
    case 'default':
      return profiles.defaultProfile(capabilities);
    case 'file':
      try {
        return profiles.parseProfile(await readProfile(choice.path), capabilities);
      } catch (error) {
        throw wrapCondition('seccomp profile', error, choice.path);
      }
  }
}

async function readProfile(path: string): Promise<string> {
  // Not blocking: the path may be a fifo.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = await file.stat();
    if (!stats.isFile()) throw new RuntimeError('InvalidArgument', 'is not a regular file');
    if (stats.size > maxProfileBytes)
      throw new RuntimeError('InvalidArgument', `is longer than ${maxProfileBytes} bytes`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}
