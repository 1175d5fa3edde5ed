import { readdir } from 'node:fs/promises';
import { closeFd } from '../../native/index.js';
import type { Logger } from '../base/logger.js';
import { wrapError } from '../errors.js';
import { ActiveSnapshots } from './active-snapshots.js';
import { applyDiff, copyTree, writeDiff } from './content.js';
import { DiskLayerStore } from './layer-store.js';
import { EMPTY_LAYER, LAYER_CONTENT, layoutOf } from './layout.js';
import { openReadOnlyTree } from './overlay.js';
import { recoverLayers, sweepIngest } from './recover-layers.js';
import type { Snapshots, Snapshotter } from './types.js';
import { ViewCache } from './view-cache.js';

export type * from './types.js';

export interface SnapshotterOptions {
  /** The daemon's root directory. */
  readonly root: string;
  readonly logger: Logger;
  /** Path of `podwright-unpack`. */
  readonly unpackerPath: string;
  /** Of the running kernel: `/proc/sys/kernel/random/boot_id`. */
  readonly bootId: string;
  /** What one layer may have: uncompressed bytes, and entries. */
  readonly limits?: { readonly bytes: number; readonly entries: number };
}

const defaultLimits = { bytes: 512 * 1024 ** 3, entries: 10_000_000 };

/** Opens layers and snapshots below a root. What an earlier process left half made is removed, in the background. */
export async function openSnapshotter(options: SnapshotterOptions): Promise<Snapshotter> {
  const { root, logger, unpackerPath, bootId, limits = defaultLimits } = options;
  const layout = layoutOf(root);
  const recovered = await recoverLayers(layout, bootId, logger);
  const unfinished = await readdir(layout.ingest);
  const active: ActiveSnapshots = new ActiveSnapshots({ layout, logger, unpackerPath, layers: () => layers });
  const views: ViewCache = new ViewCache((chainId) =>
    openReadOnlyTree(lowerOf(layers, chainId), layout.ingest),
  );
  const layers: DiskLayerStore = new DiskLayerStore(
    {
      layout,
      logger,
      unpackerPath,
      bootId,
      limits,
      isInUse: (chainId) => active.isInUse(chainId),
      onRemove: (chainId) => views.drop(chainId),
    },
    recovered,
  );
  await active.load();
  const sweeping = sweepIngest(layout, unfinished, logger);
  return {
    layers,
    snapshots: snapshotsOf(active, views, { unpackerPath, limits }),
    close: async () => {
      await sweeping;
      views.clear();
      await layers.close();
    },
  };
}

function lowerOf(layers: DiskLayerStore, chainId: string) {
  if (chainId === '') return [{ directoryFd: layers.layersFd, name: `${EMPTY_LAYER}/${LAYER_CONTENT}` }];
  return layers.lowerOf(chainId);
}

function snapshotsOf(
  active: ActiveSnapshots,
  views: ViewCache,
  run: {
    readonly unpackerPath: string;
    readonly limits: { readonly bytes: number; readonly entries: number };
  },
): Snapshots {
  return {
    prepare: (key, chainId) => active.prepare(key, chainId),
    find: (key) => active.find(key),
    layersOf: (chainId) => active.layersOf(chainId),
    remove: (key) => active.remove(key),
    sweep: (living) => active.sweep(living),
    usage: (key) => active.usage(key),
    view: (chainId) => views.view(chainId),
    copyOut: async (chainId, path, hostDirectory, signal) => {
      const view = await views.view(chainId);
      try {
        const source = view.openDirectory(path);
        if (source === undefined) return;
        try {
          await copyTree({ ...run, signal }, source, hostDirectory);
        } finally {
          closeFd(source);
        }
      } finally {
        view.close();
      }
    },
    diff: async (key, to, signal) => {
      try {
        return await writeDiff({ ...run, signal }, active.get(key).upper, to);
      } catch (error) {
        throw wrapError('write changes of container', error, key);
      }
    },
    applyDiff: async (key, source, signal) => {
      try {
        await applyDiff({ ...run, signal }, active.get(key).upper, source);
      } catch (error) {
        throw wrapError('apply changes to container', error, key);
      }
    },
  };
}
