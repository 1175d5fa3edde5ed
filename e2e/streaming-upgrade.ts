import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';

/** Clients of the streaming server, written for the tests: what they send can be wrong, late, or stop at any point. */

export interface UpgradeOptions {
  /** PEM: the only certificate that is trusted. */
  readonly ca?: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface Upgraded {
  readonly socket: Socket;
  /** What came behind the answer. */
  readonly head: Buffer;
  readonly headers: http.IncomingHttpHeaders;
}

/** The answer was another one than 101. */
export class UpgradeRefused extends Error {
  constructor(
    readonly status: number,
    readonly body: string,
    readonly headers: http.IncomingHttpHeaders,
  ) {
    super(`${status}: ${body}`);
  }
}

/** @throws UpgradeRefused */
export function upgrade(url: string, { ca, headers }: UpgradeOptions): Promise<Upgraded> {
  return new Promise((resolve, reject) => {
    const options = { headers: { Connection: 'Upgrade', ...headers }, agent: false as const };
    const request = url.startsWith('https:')
      ? https.request(url, { ...options, ...(ca === undefined ? { rejectUnauthorized: false } : { ca }) })
      : http.request(url, options);
    request.on('error', reject);
    request.once('upgrade', ({ headers }, socket, head) => {
      socket.on('error', () => undefined);
      resolve({ socket: socket, head, headers });
    });
    request.once('response', (response) => {
      let body = '';
      response.on('data', (chunk: Buffer) => (body += chunk.toString()));
      response.once('close', () =>
        reject(new UpgradeRefused(response.statusCode ?? 0, body.trim(), response.headers)),
      );
    });
    request.end();
  });
}

/** How the upgrade was refused. */
export async function upgradeRefusal(attempt: Promise<unknown>): Promise<UpgradeRefused> {
  try {
    await attempt;
  } catch (error) {
    if (error instanceof UpgradeRefused) return error;
    throw error;
  }
  throw new Error('the upgrade was not refused');
}
