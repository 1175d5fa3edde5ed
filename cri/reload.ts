import { messageOf } from '../runtime/errors.js';
import { type Config, type ConfigSources, loadConfig } from './config.js';
import { leaves } from './config-file.js';
import type { DaemonLog } from './log.js';

/** Options that a running daemon takes over; everything else waits for the next one. */
const reloaded: ReadonlySet<string> = new Set(['log.level', 'log.format']);

/** SIGHUP: reads the configuration again. One that is refused changes nothing. */
export function reloadOnHangup(sources: ConfigSources, running: Config, log: DaemonLog): void {
  const reload = async (): Promise<void> => {
    try {
      const { config } = await loadConfig(sources);
      log.reconfigure(config.log);
      const waitingForRestart = changedOptions(running, config).filter((key) => !reloaded.has(key));
      log.info('configuration read again', { waitingForRestart });
    } catch (error) {
      log.error('configuration refused, the old one stays', { error: messageOf(error) });
    }
  };
  process.on('SIGHUP', () => void reload());
}

/** Dotted names of the options that differ. */
function changedOptions(one: Config, other: Config): readonly string[] {
  const keys = new Set([...leaves(one), ...leaves(other)]);
  return [...keys].filter((key) => JSON.stringify(valueAt(one, key)) !== JSON.stringify(valueAt(other, key)));
}

function valueAt(config: Config, key: string): unknown {
  return key
    .split('.')
    .reduce<unknown>((tree, name) => (tree as Record<string, unknown> | undefined)?.[name], config);
}
