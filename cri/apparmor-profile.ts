import type { Logger } from '../runtime/base/logger.js';
import { RuntimeError, messageOf } from '../runtime/errors.js';
import type { Runtime } from '../runtime/index.js';
import type { ApparmorChoice } from './translate/security.js';

/**
 * The name of the loaded profile of a choice; undefined for an unconfined container.
 *
 * @throws FailedPrecondition for one that the host has not loaded. A host that cannot load ours refuses only those who
 * asked for it by name.
 */
export async function loadApparmor(
  choice: ApparmorChoice,
  profiles: Runtime['apparmor'],
  log: Logger,
): Promise<string | undefined> {
  switch (choice.kind) {
    case 'none':
      return undefined;
    case 'named':
      await profiles.checkLoaded(choice.name);
      return choice.name;
    case 'default':
      try {
        return await profiles.loadDefault();
      } catch (error) {
        const absent = error instanceof RuntimeError && error.code === 'FailedPrecondition';
        if (choice.asked || !absent) throw error;
        log.warn('the container runs without an AppArmor profile', { error: messageOf(error) });
        return undefined;
      }
  }
}
