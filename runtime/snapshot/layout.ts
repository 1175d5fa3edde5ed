import path from 'node:path';

/** Where things are below the root. Recovery depends on it: see README.md. */
export interface Layout {
  /** Committed layers. */
  readonly layers: string;
  /** Layers being unpacked, and what is on its way out: gone at the next start. */
  readonly ingest: string;
  /** One directory per container, shared with the container's records. */
  readonly containers: string;
}

export function layoutOf(root: string): Layout {
  return {
    layers: path.join(root, 'layers'),
    ingest: path.join(root, 'ingest'),
    containers: path.join(root, 'containers'),
  };
}

/** Content of a layer, in its directory. */
export const LAYER_CONTENT = 'fs';
export const LAYER_RECORD = 'layer.json';
/** Directory below `layers` that stands for an image without layers; its content is empty. */
export const EMPTY_LAYER = '0';

export const SNAPSHOT_UPPER = 'upper';
export const SNAPSHOT_WORK = 'work';
export const SNAPSHOT_RECORD = 'snapshot.json';
