/** Which containers use which images. */
export class ImagePins {
  /** Owners by image id. */
  private readonly owners = new Map<string, Set<string>>();

  add(imageId: string, owner: string): void {
    const owners = this.owners.get(imageId) ?? new Set();
    this.owners.set(imageId, owners.add(owner));
  }

  /** True if that was the last one. */
  delete(imageId: string, owner: string): boolean {
    const owners = this.owners.get(imageId);
    if (owners?.delete(owner) !== true || owners.size > 0) return false;
    return this.owners.delete(imageId);
  }

  has(imageId: string): boolean {
    return this.owners.has(imageId);
  }

  ownersOf(imageId: string): readonly string[] {
    return [...(this.owners.get(imageId) ?? [])];
  }
}
