import { closeFd, dupFd, type Fd } from '../../native/index.js';
import { TreeView } from './view.js';

/** Trees of images that are looked into again and again: every container of an image asks for its passwd and group. */
const CACHED_TREES = 16;

/**
 * Views of chains over trees that are kept open, the least recently used one closed first. Each view has a descriptor of
 * its own, so that it outlives what the cache does.
 */
export class ViewCache {
  private readonly trees = new Map<string, Promise<Fd>>();

  constructor(private readonly openTree: (chainId: string) => Promise<Fd>) {}

  async view(chainId: string): Promise<TreeView> {
    const tree = this.trees.get(chainId) ?? this.open(chainId);
    this.trees.delete(chainId);
    this.trees.set(chainId, tree);
    this.evict();
    return new TreeView(dupFd(await tree));
  }

  /** Lets go of a tree whose layers are about to be removed. */
  drop(chainId: string): void {
    const tree = this.trees.get(chainId);
    if (tree === undefined) return;
    this.trees.delete(chainId);
    void tree.then(closeFd, () => undefined);
  }

  clear(): void {
    for (const chainId of [...this.trees.keys()]) this.drop(chainId);
  }

  private open(chainId: string): Promise<Fd> {
    const tree = this.openTree(chainId);
    tree.catch(() => this.trees.delete(chainId));
    return tree;
  }

  private evict(): void {
    const [oldest] = this.trees.keys();
    if (this.trees.size > CACHED_TREES && oldest !== undefined) this.drop(oldest);
  }
}
