import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';

/** The files of a key and its certificate. */
export interface KeyPair {
  readonly key: string;
  /** Signed by its own key: it is also what others are given to trust. */
  readonly certificate: string;
}

/** With Debian's openssl. @param name of whoever holds it, and for a server the one that it is called by */
export async function makeKeyPair(
  directory: string,
  name: string,
  usage: 'clientAuth' | 'serverAuth',
): Promise<KeyPair> {
  const key = path.join(directory, `${name}.key`);
  const certificate = path.join(directory, `${name}.crt`);
  await promisify(execFile)('openssl', [
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', `/CN=${name}`],
    ...['-addext', `extendedKeyUsage=${usage}`, '-addext', `subjectAltName=DNS:${name}`],
    ...['-keyout', key, '-out', certificate],
  ]);
  return { key, certificate };
}
