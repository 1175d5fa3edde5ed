import type { Runtime } from '../runtime/index.js';
import type { UserDatabase } from './translate/user.js';

/** An image may bring any file: what is longer is no list of users. */
const maxFileBytes = 1024 * 1024;
const maxImages = 128;

/** The passwd and group files of images, read once per image: layers never change. */
export class UserDatabases {
  private readonly byChainId = new Map<string, Promise<UserDatabase>>();

  constructor(private readonly rootfs: Runtime['rootfs']) {}

  /** @throws what the reader throws; a failure is not remembered */
  async of(chainId: string): Promise<UserDatabase> {
    const known = this.byChainId.get(chainId);
    if (known !== undefined) return known;
    const reading = this.read(chainId);
    this.byChainId.set(chainId, reading);
    const [oldest] = this.byChainId.keys();
    if (this.byChainId.size > maxImages && oldest !== undefined) this.byChainId.delete(oldest);
    try {
      return await reading;
    } catch (error) {
      this.byChainId.delete(chainId);
      throw error;
    }
  }

  private async read(chainId: string): Promise<UserDatabase> {
    const [passwd, group] = await Promise.all([
      this.rootfs.readFile(chainId, '/etc/passwd', maxFileBytes),
      this.rootfs.readFile(chainId, '/etc/group', maxFileBytes),
    ]);
    return { passwd: passwd?.toString('utf8'), group: group?.toString('utf8') };
  }
}
