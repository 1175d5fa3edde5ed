import { X509Certificate, createPrivateKey } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { createSecureContext } from 'node:tls';
import type { Logger } from '../../runtime/base/logger.js';
import { RuntimeError, messageOf } from '../../runtime/errors.js';
import { selfSigned } from './self-signed.js';

/** PEM: the certificate, with those that lead to its issuer behind it, and its key. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

/** Where the server's key pair comes from. */
export interface KeyPairSource {
  /** The pair to show from now on; the same object while nothing has changed. Never rejects. */
  current(): Promise<KeyPair>;
}

export interface KeyPairFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** Made in memory for the names of this host, and anew when half of its life is over. */
export async function selfSignedPairs(address: string): Promise<KeyPairSource> {
  const hosts = {
    names: [...new Set(['localhost', hostname()])],
    addresses: [...new Set([address, '127.0.0.1', '::1'])],
  };
  const make = async (): Promise<KeyPair & { readonly renewAt: number }> => {
    const { cert, key, validUntil } = await selfSigned(hosts);
    return { cert, key, renewAt: (Date.now() + validUntil.getTime()) / 2 };
  };
  let pair = await make();
  return {
    current: async () => {
      if (Date.now() > pair.renewAt) pair = await make();
      return pair;
    },
  };
}

/**
 * Read anew when a file is another one or was written to, which is looked at whenever the pair is asked for: there is no
 * watch that could miss it. A pair that is of no use leaves the last one in place.
 *
 * @throws InvalidArgument if the files hold no pair to begin with
 */
export async function keyPairsOf(files: KeyPairFiles, logger: Logger): Promise<KeyPairSource> {
  let mark = await markOf(files);
  let pair = await load(files);
  return {
    current: async () => {
      const found = await markOf(files);
      if (found === mark) return pair;
      mark = found;
      try {
        pair = await load(files);
        logger.info('streaming key pair reloaded', { certFile: files.certFile });
      } catch (error) {
        logger.warn('streaming key pair not reloaded, the last one serves on', { error: messageOf(error) });
      }
      return pair;
    },
  };
}

/** Differs once a file has been replaced or written to. */
async function markOf({ certFile, keyFile }: KeyPairFiles): Promise<string> {
  const marks = [certFile, keyFile].map(async (file) => {
    const found = await stat(file, { bigint: true }).catch(() => undefined);
    return found === undefined ? 'none' : [found.dev, found.ino, found.size, found.mtimeNs].join(':');
  });
  return (await Promise.all(marks)).join(' ');
}

async function load({ certFile, keyFile }: KeyPairFiles): Promise<KeyPair> {
  const [cert, key] = await Promise.all([read(certFile), read(keyFile)]);
  const certificate = parsed(certFile, 'certificate', () => new X509Certificate(cert));
  const privateKey = parsed(keyFile, 'private key', () => createPrivateKey(key));
  if (!certificate.checkPrivateKey(privateKey))
    throw refuse(keyFile, `it is not the key of the certificate in ${certFile}`);
  parsed(certFile, 'certificates', () => createSecureContext({ cert, key }));
  return { cert, key };
}

async function read(file: string): Promise<string> {
  try {
    // A fifo would keep the reader waiting.
    if (!(await stat(file)).isFile()) throw new Error('it is no file');
    return await readFile(file, 'utf8');
  } catch (error) {
    throw refuse(file, error);
  }
}

function parsed<T>(file: string, what: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw refuse(file, `it holds no ${what} in PEM form (${messageOf(error)})`);
  }
}

function refuse(file: string, cause: unknown): RuntimeError {
  return new RuntimeError('InvalidArgument', 'streaming server: read key pair', { subject: file, cause });
}
