import { randomBytes } from 'node:crypto';
import { RuntimeError } from '../../runtime/errors.js';

const TOKEN_BYTES = 16;

export interface TokenLimits {
  readonly lifetimeMs: number;
  /** That wait at a time. */
  readonly atMost: number;
}

/**
 * Requests that wait for their client, by a name that cannot be guessed: pods with the host's network reach the server
 * too, so the name is the permission. It serves once, within a minute.
 */
export class Tokens<T> {
  private readonly waiting = new Map<string, { readonly value: T; readonly timer: NodeJS.Timeout }>();
  private readonly limits: TokenLimits;

  constructor({ lifetimeMs = 60_000, atMost = 1000 }: Partial<TokenLimits> = {}) {
    this.limits = { lifetimeMs, atMost };
  }

  /** @throws ResourceExhausted */
  add(value: T): string {
    const { lifetimeMs, atMost } = this.limits;
    if (this.waiting.size >= atMost)
      throw new RuntimeError('ResourceExhausted', `${atMost} streaming sessions wait for their client`);
    const token = randomBytes(TOKEN_BYTES).toString('base64url');
    const timer = setTimeout(() => this.waiting.delete(token), lifetimeMs);
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
