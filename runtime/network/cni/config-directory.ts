import { stat } from 'node:fs/promises';
import path from 'node:path';
import { openInotify, type Inotify } from '../../../native/index.js';
import type { Logger } from '../../base/logger.js';
import { isErrno } from '../../errors.js';
import { loadNetworkList, type NetworkList } from './config.js';

/** The watched conf directory. It may appear, be removed and come back at any time. */
export interface ConfigDirectory {
  /** The list in force; read again only after something changed. */
  current(): Promise<NetworkList | undefined>;
  /** Grows with every change. */
  readonly generation: number;
  /** Why there is no list, in one sentence. */
  readonly problem: string;
  close(): void;
}

// man 7 inotify
const IN_CHANGED = 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800;

export async function openConfigDirectory(directory: string, logger: Logger): Promise<ConfigDirectory> {
  let dirty = true;
  let generation = 0;
  let loaded: Promise<NetworkList | undefined> = Promise.resolve(undefined);
  let problem = `no CNI configuration in ${directory}`;
  let watched: { readonly path: string; readonly watch: number } | undefined;

  const inotify: Inotify = openInotify(() => {
    dirty = true;
    generation++;
  });

  /** Watches the directory itself, or, while it does not exist, the nearest parent that does. */
  const watch = async (): Promise<void> => {
    const target = await nearestExisting(directory);
    if (watched?.path === target) return;
    if (watched !== undefined) inotify.remove(watched.watch);
    watched = { path: target, watch: inotify.add(target, IN_CHANGED) };
  };

  const load = async (): Promise<NetworkList | undefined> => {
    await watch();
    let bad: string | undefined;
    const list = await loadNetworkList(directory, (file, error) => {
      bad ??= error.message;
      logger.warn('CNI configuration passed over', { file, error: error.message });
    });
    problem = bad ?? `no CNI configuration in ${directory}`;
    if (list !== undefined)
      logger.info('CNI configuration loaded', {
        file: list.file,
        network: list.name,
        cniVersion: list.cniVersion,
      });
    return list;
  };

  return {
    current: async () => {
      if (dirty) {
        dirty = false;
        loaded = load().catch((error: unknown) => {
          dirty = true;
          throw error;
        });
      }
      return loaded;
    },
    get generation() {
      return generation;
    },
    get problem() {
      return problem;
    },
    close: () => inotify.close(),
  };
}

async function nearestExisting(directory: string): Promise<string> {
  for (let candidate = directory; ; candidate = path.dirname(candidate)) {
    try {
      if ((await stat(candidate)).isDirectory()) return candidate;
    } catch (error) {
      if (!isErrno(error, 'ENOENT', 'ENOTDIR')) throw error;
    }
    if (candidate === '/') return '/';
  }
}
