import { readdir, rename } from 'node:fs/promises';
import path from 'node:path';
import { fileBatch, readFiles, removeTree, spreadSubdirectories } from '../../native/index.js';
import type { Logger } from '../base/logger.js';
import { messageOf } from '../errors.js';
import { layerRecordSchema, type Layer } from './layer-table.js';
import { EMPTY_LAYER, LAYER_CONTENT, LAYER_RECORD, type Layout } from './layout.js';

export interface RecoveredLayers {
  readonly layers: readonly Layer[];
  /** The highest number in use as a name. */
  readonly lastName: number;
}

/**
 * Reads the committed layers. What is no whole layer, or stands on one that is gone, is moved to the ingest directory,
 * of which nothing survives a start. Safe to repeat: a crash anywhere in it leaves the same work to the next start.
 */
export async function recoverLayers(
  layout: Layout,
  bootId: string,
  logger: Logger,
): Promise<RecoveredLayers> {
  await fileBatch([
    ...Object.values(layout).map((directory: string) => mkdir(directory, 0o700)),
    mkdir(path.join(layout.layers, EMPTY_LAYER), 0o700),
    mkdir(path.join(layout.layers, EMPTY_LAYER, LAYER_CONTENT), 0o755),
  ]);
  for (const directory of Object.values(layout)) spreadSubdirectories(directory as string);
  const names = (await readdir(layout.layers)).filter((name) => name !== EMPTY_LAYER);
  const texts = await readFiles(names.map((name) => path.join(layout.layers, name, LAYER_RECORD)));
  const candidates = names.map((name, index) => parseLayer(name, texts[index]));
  const present = candidates.filter((layer) => layer !== undefined);
  const layers = withWholeChains(present.filter((layer) => isWhole(layer, bootId)));
  const kept = new Set(layers.map(({ name }) => name));
  for (const name of names) {
    if (kept.has(name)) continue;
    logger.warn('broken layer removed', { layer: name });
    await rename(
      path.join(layout.layers, name),
      path.join(layout.ingest, `broken-${name}-${process.hrtime.bigint()}`),
    );
  }
  const left = await readdir(layout.ingest);
  const numbers = [...names, ...left].map(Number).filter(Number.isSafeInteger);
  return { layers, lastName: Math.max(0, ...numbers) };
}

function mkdir(directory: string, mode: number) {
  return { op: 'mkdir', path: directory, mode, existOk: true } as const;
}

function parseLayer(name: string, text: unknown): Layer | undefined {
  if (typeof text !== 'string' || !/^[1-9][0-9]*$/.test(name)) return undefined;
  try {
    return { name, record: layerRecordSchema.parse(JSON.parse(text)) };
  } catch {
    return undefined;
  }
}

/** What was not durable when the kernel stopped may have lost anything. */
function isWhole({ record }: Layer, bootId: string): boolean {
  return record.boot === undefined || record.boot === bootId;
}

/** Drops, again and again, what has no parent; and all but one layer of the same chain. */
function withWholeChains(candidates: readonly Layer[]): readonly Layer[] {
  const byChain = new Map(candidates.map((layer) => [layer.record.chainId, layer]));
  const isOrphan = ({ record: { parentChainId } }: Layer): boolean =>
    parentChainId !== undefined && !byChain.has(parentChainId);
  for (let orphans = [...byChain.values()].filter(isOrphan); orphans.length > 0;) {
    for (const { record } of orphans) byChain.delete(record.chainId);
    orphans = [...byChain.values()].filter(isOrphan);
  }
  return [...byChain.values()];
}

/** Removes everything that an earlier process left unfinished. */
export async function sweepIngest(layout: Layout, names: readonly string[], logger: Logger): Promise<void> {
  for (const name of names) {
    try {
      await removeTree(path.join(layout.ingest, name));
    } catch (error) {
      logger.warn('unfinished layer not removed', { name, error: messageOf(error) });
    }
  }
}
