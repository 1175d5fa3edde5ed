import { z } from 'zod';
import { RuntimeError } from '../errors.js';

/** The root directory of a tree, which the writable layer of a container must repeat. */
const rootAttributesSchema = z.object({
  mode: z.number().int(),
  uid: z.number().int(),
  gid: z.number().int(),
  /** No extended attributes. */
  plain: z.boolean(),
});

export type RootAttributes = z.infer<typeof rootAttributesSchema>;

/** What is known of a committed layer; `layer.json` in its directory. */
export const layerRecordSchema = z.object({
  version: z.literal(1),
  chainId: z.string(),
  diffId: z.string(),
  parentChainId: z.string().optional(),
  /** Of the compressed blob it came from. */
  digest: z.string(),
  /** Of the uncompressed tar. */
  bytes: z.number().int().nonnegative(),
  /** What it takes on disk. */
  diskBytes: z.number().int().nonnegative(),
  inodes: z.number().int().nonnegative(),
  /** Nothing of the layers below shows: the chain ends here. */
  opaqueRoot: z.boolean(),
  root: rootAttributesSchema,
  /** The boot in which it was written, until it is durable. */
  boot: z.string().optional(),
  /** It will not become durable. */
  syncFailed: z.boolean().optional(),
});

export type LayerRecord = z.infer<typeof layerRecordSchema>;

/** A committed layer: `layers/<name>/fs` and `layers/<name>/layer.json`, under a name short enough for overlayfs. */
export interface Layer {
  readonly name: string;
  readonly record: LayerRecord;
}

/** The committed layers by chainId, and who stands on whom. */
export class LayerTable {
  private readonly layers = new Map<string, Layer>();
  private readonly children = new Map<string, number>();

  get(chainId: string): Layer | undefined {
    return this.layers.get(chainId);
  }

  all(): readonly Layer[] {
    return [...this.layers.values()];
  }

  add(layer: Layer): void {
    this.layers.set(layer.record.chainId, layer);
    this.countChild(layer, 1);
  }

  delete(chainId: string): void {
    const layer = this.layers.get(chainId);
    if (layer === undefined) return;
    this.layers.delete(chainId);
    this.countChild(layer, -1);
  }

  hasChildren(chainId: string): boolean {
    return (this.children.get(chainId) ?? 0) > 0;
  }

  /** All layers of a chain, the top one first. @throws NotFound */
  chain(chainId: string): readonly Layer[] {
    const chain: Layer[] = [];
    for (let id: string | undefined = chainId; id !== undefined;) {
      const layer = this.layers.get(id);
      if (layer === undefined) throw new RuntimeError('NotFound', 'find layer', { subject: id });
      chain.push(layer);
      id = layer.record.parentChainId;
    }
    return chain;
  }

  private countChild({ record: { parentChainId } }: Layer, change: number): void {
    if (parentChainId === undefined) return;
    const count = (this.children.get(parentChainId) ?? 0) + change;
    if (count === 0) this.children.delete(parentChainId);
    else this.children.set(parentChainId, count);
  }
}

/** The part of a chain that shows: an opaque root hides everything below it. */
export function visible(chain: readonly Layer[]): readonly Layer[] {
  const last = chain.findIndex(({ record }) => record.opaqueRoot);
  return last < 0 ? chain : chain.slice(0, last + 1);
}
