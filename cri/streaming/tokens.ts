import { randomBytes } from 'node:crypto';
import { RuntimeError } from '../../runtime/errors.js';

const TOKEN_BYTES = 16;
const LIFETIME_MS = 60_000;
const MAX_TOKENS = 1000;

/**
 * Requests that wait for their client, by a name that cannot be guessed: pods with the host's network reach the server
 * too, so the name is the permission. It serves once, within a minute.
 */
export class Tokens<T> {
  private readonly waiting = new Map<string, { readonly value: T; readonly timer: NodeJS.Timeout }>();

  /** @throws ResourceExhausted */
  add(value: T): string {
    if (this.waiting.size >= MAX_TOKENS)
      throw new RuntimeError('ResourceExhausted', `${MAX_TOKENS} streaming sessions wait for their client`);
    const token = randomBytes(TOKEN_BYTES).toString('base64url');
    const timer = setTimeout(() => this.waiting.delete(token), LIFETIME_MS);
    timer.unref();
    this.waiting.set(token, { value, timer });
    return token;
  }

  take(token: string): T | undefined {
    const found = this.waiting.get(token);
    if (found === undefined) return undefined;
    clearTimeout(found.timer);
    this.waiting.delete(token);
    return found.value;
  }

  clear(): void {
    for (const token of [...this.waiting.keys()]) this.take(token);
  }
}
