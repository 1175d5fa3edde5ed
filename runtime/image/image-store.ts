import { parseDigest, type Digest } from '../base/digest.js';
import { Limiter } from '../base/limiter.js';
import type { Logger } from '../base/logger.js';
import type { ContentStore, IndexEntry } from '../content/types.js';
import { messageOf, RuntimeError } from '../errors.js';
import type { LayerStore } from '../snapshot/types.js';
import type { ImagePins } from './image-pins.js';
import { describeImage, type ImageDescription } from './documents.js';
import { configLimitBytes, manifestLimitBytes } from './limits.js';
import { parseManifest, type Descriptor } from './manifest.js';
import { formatReference, parseReference } from './reference.js';
import {
  entryOf,
  keyOf,
  manifestOf,
  nameAnnotation,
  referenceOf,
  type StoredReference,
} from './stored-reference.js';
import type { Image } from './types.js';

interface StoredManifest {
  readonly description: ImageDescription;
  /** Every blob that belongs to it, itself included. */
  readonly blobs: readonly Digest[];
}

const parallelReads = 16;

export interface ImageStoreOptions {
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly pins: ImagePins;
  /** Names of images that are never garbage. */
  readonly pinned: readonly string[];
  readonly logger: Logger;
}

/**
 * The images of this node: references, kept in index.json, and what their manifests and configurations say, kept in
 * memory. Reading takes no lock: lists are immutable values, replaced on change.
 */
export class ImageStore {
  /** By name, or by `@DIGEST` of the manifest where there is none. */
  private readonly references = new Map<string, StoredReference>();
  private readonly manifests = new Map<Digest, StoredManifest>();
  private images: ReadonlyMap<Digest, Image> = new Map();
  private listed: readonly Image[] = [];
  private used: ReadonlySet<string> | undefined;
  private readonly pinned: ReadonlySet<string>;

  constructor(private readonly options: ImageStoreOptions) {
    this.pinned = new Set(options.pinned.map(normalisedName));
  }

  /** Reads index.json; if there is none that can be read, finds the images whose blobs are all here. */
  async load(): Promise<void> {
    const entries = await this.options.content.readIndex();
    if (entries === undefined) await this.recover();
    else await this.loadEntries(entries);
    this.refresh();
  }

  /** Reads several documents at a time; the references keep their order. */
  private async loadEntries(entries: readonly IndexEntry[]): Promise<void> {
    const limiter = new Limiter(parallelReads);
    const loads = new Map<string, Promise<void>>();
    for (const entry of entries) {
      const digest = manifestOf(entry);
      const load = loads.get(digest) ?? limiter.run(async () => this.loadManifest(parseDigest(digest)));
      loads.set(digest, load);
      load.catch(() => undefined);
    }
    for (const entry of entries) await this.loadEntry(entry, loads.get(manifestOf(entry)));
  }

  private async loadEntry(entry: IndexEntry, loaded: Promise<void> | undefined): Promise<void> {
    try {
      const reference = referenceOf(entry);
      await loaded;
      this.references.set(keyOf(reference), reference);
    } catch (error) {
      this.options.logger.warn('image dropped, it cannot be read', {
        name: entry.annotations?.[nameAnnotation],
        digest: entry.digest,
        error: messageOf(error),
      });
    }
  }

  private async loadManifest(digest: Digest | undefined): Promise<void> {
    if (digest === undefined || this.manifests.has(digest)) return;
    const { content } = this.options;
    const document = await content.readAll(digest, manifestLimitBytes);
    const manifest = parseManifest({ content: document, mediaType: undefined });
    if (manifest.kind === 'index')
      throw new RuntimeError('DataLoss', 'read manifest', { subject: digest, cause: 'it is an index' });
    const config = await content.readAll(manifest.config.digest, configLimitBytes);
    const descriptor = { mediaType: manifest.mediaType, digest, size: document.length };
    this.addManifest(descriptor, describeImage(manifest, descriptor, config));
  }

  private addManifest({ digest }: Descriptor, description: ImageDescription): void {
    const blobs = [digest, description.id, ...description.layers.map((layer) => layer.digest)];
    this.manifests.set(digest, { description, blobs });
  }

  /** After the loss of index.json: the names are gone, but not what containers may be made of. */
  private async recover(): Promise<void> {
    const { content, logger } = this.options;
    for (const digest of content.list()) {
      if ((content.size(digest) ?? 0) > manifestLimitBytes) continue;
      const target = await this.provenManifest(digest);
      if (target !== undefined)
        this.references.set(`@${digest}`, { name: undefined, target, manifest: digest });
    }
    if (this.references.size === 0) return;
    logger.warn('image index rebuilt from the blobs, names are lost', { images: this.references.size });
    await this.save();
  }

  /** A blob that is an image manifest of which nothing is missing. */
  private async provenManifest(digest: Digest): Promise<Descriptor | undefined> {
    const { content, layers } = this.options;
    try {
      await this.loadManifest(digest);
    } catch {
      return undefined;
    }
    const { description } = this.manifests.get(digest) ?? {};
    if (description?.layers.every(({ chainId }) => layers.has(chainId))) {
      const document = await content.readAll(digest, manifestLimitBytes);
      const { mediaType } = parseManifest({ content: document, mediaType: undefined });
      return { mediaType, digest, size: document.length };
    }
    this.manifests.delete(digest);
    return undefined;
  }

  /** Records a pulled image under its names, durably. Names that pointed elsewhere are moved. */
  async put(
    names: readonly string[],
    image: {
      readonly target: Descriptor;
      readonly manifest: Descriptor;
      readonly description: ImageDescription;
    },
  ): Promise<Image> {
    const { target, manifest, description } = image;
    this.addManifest(manifest, description);
    this.references.delete(`@${manifest.digest}`);
    for (const name of names) this.references.set(name, { name, target, manifest: manifest.digest });
    this.refresh();
    const stored = this.images.get(description.id);
    await this.save();
    if (stored !== undefined) return stored;
    throw new RuntimeError('Aborted', 'store image', {
      subject: description.id,
      cause: 'its layers were removed',
    });
  }

  /** Drops every name of an image. What it used becomes garbage, or is hidden as long as somebody has it pinned. */
  async remove(id: Digest): Promise<void> {
    const dropped = [...this.references].filter(([, { manifest }]) => this.idOf(manifest) === id);
    for (const [key] of dropped) this.references.delete(key);
    if (this.options.pins.has(id))
      for (const [, { target, manifest }] of dropped)
        this.references.set(`@${manifest}`, { name: undefined, hidden: true, target, manifest });
    this.refresh();
    await this.save();
  }

  /** Lets go of hidden images that nobody has pinned any more. False if there was none. */
  async dropHidden(): Promise<boolean> {
    const unused = [...this.references].filter(
      ([, { hidden, manifest }]) => hidden && !this.options.pins.has(this.idOf(manifest) ?? ''),
    );
    if (unused.length === 0) return false;
    for (const [key] of unused) this.references.delete(key);
    this.refresh();
    await this.save();
    return true;
  }

  /** The same value until something changes. */
  list(): readonly Image[] {
    return this.listed;
  }

  get(reference: string): Image | undefined {
    const id = this.find(reference);
    return id === undefined ? undefined : this.images.get(id);
  }

  /** The id that a reference means, also of an image whose layers were lost. */
  find(reference: string): Digest | undefined {
    const digest = parseDigest(reference);
    if (digest !== undefined) return this.ids().has(digest) ? digest : undefined;
    return this.findByName(reference) ?? this.findByShortId(reference);
  }

  /** The reference of exactly this name. */
  reference(name: string): StoredReference | undefined {
    return this.references.get(name);
  }

  private findByName(text: string): Digest | undefined {
    let name: string;
    try {
      name = formatReference(parseReference(text));
    } catch {
      return undefined;
    }
    const manifest = this.references.get(name)?.manifest;
    return manifest === undefined ? undefined : this.idOf(manifest);
  }

  private findByShortId(text: string): Digest | undefined {
    const hex = /^(?:sha256:)?([0-9a-f]{12,64})$/.exec(text)?.[1];
    if (hex === undefined) return undefined;
    const matches = [...this.ids()].filter((id) => id.startsWith(`sha256:${hex}`));
    return matches.length === 1 ? matches[0] : undefined;
  }

  private ids(): ReadonlySet<Digest> {
    const visible = [...this.references.values()].filter(({ hidden }) => hidden !== true);
    return new Set(visible.map(({ manifest }) => this.idOf(manifest)).filter((id) => id !== undefined));
  }

  private idOf(manifest: Digest): Digest | undefined {
    return this.manifests.get(manifest)?.description.id;
  }

  /** Every digest and chain id that an image needs. */
  inUse(): ReadonlySet<string> {
    this.used ??= this.collectUsed();
    return this.used;
  }

  private collectUsed(): ReadonlySet<string> {
    const used = new Set<string>();
    for (const { target, manifest } of this.references.values()) {
      used.add(target.digest);
      const { blobs = [], description } = this.manifests.get(manifest) ?? {};
      for (const blob of blobs) used.add(blob);
      for (const { chainId } of description?.layers ?? []) used.add(chainId);
    }
    return used;
  }

  /** Makes the images anew from the references. One whose layers are not all there is hidden until it is pulled again. */
  private refresh(): void {
    this.used = undefined;
    const names = new Map<Digest, { manifest: Digest; tags: string[]; digests: Set<string> }>();
    for (const reference of this.references.values()) {
      const id = this.idOf(reference.manifest);
      if (id === undefined || reference.hidden) continue;
      const known = names.get(id) ?? { manifest: reference.manifest, tags: [], digests: new Set() };
      names.set(id, known);
      collectNames(reference, known);
    }
    this.forgetUnused();
    const images = [...names].flatMap(([id, { manifest, tags, digests }]): [Digest, Image][] => {
      const description = this.manifests.get(manifest)?.description;
      if (description === undefined || !this.isComplete(description)) return [];
      const pinned = tags.some((tag) => this.pinned.has(tag));
      return [[id, { ...description, repoTags: tags, repoDigests: [...digests], pinned }]];
    });
    this.images = new Map(images);
    this.listed = [...this.images.values()];
  }

  private isComplete({ layers }: ImageDescription): boolean {
    return layers.every(({ chainId }) => this.options.layers.has(chainId));
  }

  private forgetUnused(): void {
    const used = new Set([...this.references.values()].map(({ manifest }) => manifest));
    for (const digest of this.manifests.keys()) if (!used.has(digest)) this.manifests.delete(digest);
  }

  private save(): Promise<void> {
    return this.options.content.writeIndex([...this.references.values()].map(entryOf));
  }
}

function collectNames(
  { name, target }: StoredReference,
  into: { tags: string[]; digests: Set<string> },
): void {
  if (name === undefined) return;
  if (name.includes('@')) return void into.digests.add(name);
  into.tags.push(name);
  into.digests.add(`${name.slice(0, name.lastIndexOf(':'))}@${target.digest}`);
}

function normalisedName(text: string): string {
  return formatReference(parseReference(text));
}
