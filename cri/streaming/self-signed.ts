import { generateKeyPair, randomBytes, sign } from 'node:crypto';
import { isIPv4 } from 'node:net';
import { promisify } from 'node:util';

export interface SelfSigned {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
  readonly validUntil: Date;
}

const LIFETIME_MS = 365 * 24 * 3600 * 1000;
/** Clients' clocks may be behind ours. */
const CLOCK_SKEW_MS = 3600 * 1000;

const oids = {
  commonName: '2.5.4.3',
  keyUsage: '2.5.29.15',
  subjectAlternativeName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  extendedKeyUsage: '2.5.29.37',
  serverAuthentication: '1.3.6.1.5.5.7.3.1',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
} as const;

/**
 * A server's certificate that its own key has signed (RFC 5280), with that key: Node can use such things, but not make
 * them.
 */
export async function selfSigned(hosts: {
  readonly names: readonly string[];
  readonly addresses: readonly string[];
}): Promise<SelfSigned> {
  const { publicKey, privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' });
  const validUntil = new Date(Date.now() + LIFETIME_MS);
  const algorithm = sequence(objectId(oids.ecdsaWithSha256));
  const name = sequence(set(sequence(objectId(oids.commonName), utf8String('podwright streaming'))));
  const toBeSigned = sequence(
    explicit(0, integer(Buffer.from([2]))),
    integer(serialNumber()),
    algorithm,
    name,
    sequence(time(new Date(Date.now() - CLOCK_SKEW_MS)), time(validUntil)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    explicit(3, sequence(...extensions(hosts))),
  );
  const signature = sign('sha256', toBeSigned, privateKey);
  return {
    cert: pem(sequence(toBeSigned, algorithm, bitString(signature, 0))),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    validUntil,
  };
}

function extensions(hosts: Parameters<typeof selfSigned>[0]): readonly Buffer[] {
  const digitalSignature = bitString(Buffer.from([0x80]), 7);
  const names = hosts.names.map((name) => der(0x82, Buffer.from(name, 'latin1')));
  const addresses = hosts.addresses.map((address) => der(0x87, addressBytes(address)));
  return [
    extension(oids.basicConstraints, 'critical', sequence()),
    extension(oids.keyUsage, 'critical', digitalSignature),
    extension(oids.extendedKeyUsage, 'optional', sequence(objectId(oids.serverAuthentication))),
    extension(oids.subjectAlternativeName, 'optional', sequence(...names, ...addresses)),
  ];
}

function extension(oid: string, weight: 'critical' | 'optional', value: Buffer): Buffer {
  const critical = weight === 'critical' ? [der(0x01, Buffer.from([0xff]))] : [];
  return sequence(objectId(oid), ...critical, der(0x04, value));
}

/** 128 random bits, of which the first two make it positive and as long as it looks. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes;
}

function addressBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  // A URL spells it in groups only, with at most one gap.
  const [head = '', tail = ''] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const groups = [head, tail].map((text) => text.split(':').filter((group) => group !== ''));
  const bytes = Buffer.alloc(16);
  const [before = [], after = []] = groups;
  before.forEach((group, index) => bytes.writeUInt16BE(Number.parseInt(group, 16), 2 * index));
  after.forEach((group, index) =>
    bytes.writeUInt16BE(Number.parseInt(group, 16), 16 - 2 * (after.length - index)),
  );
  return bytes;
}

function pem(certificate: Buffer): string {
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}

// ---- DER (ITU-T X.690) ----

function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

function sequence(...contents: readonly Uint8Array[]): Buffer {
  return der(0x30, ...contents);
}

function set(...contents: readonly Uint8Array[]): Buffer {
  return der(0x31, ...contents);
}

function explicit(number: number, content: Buffer): Buffer {
  return der(0xa0 | number, content);
}

/** A positive number whose first bit is clear. */
function integer(bytes: Buffer): Buffer {
  return der(0x02, bytes);
}

function utf8String(text: string): Buffer {
  return der(0x0c, Buffer.from(text));
}

function bitString(bytes: Buffer, unusedBits: number): Buffer {
  return der(0x03, Buffer.from([unusedBits]), bytes);
}

/** The first two numbers share a byte; each other one has seven bits per byte. */
function objectId(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes = rest.flatMap((number) => {
    const digits = [number & 0x7f];
    for (let left = number >> 7; left > 0; left >>= 7) digits.unshift(0x80 | (left & 0x7f));
    return digits;
  });
  return der(0x06, Buffer.from([40 * first + second, ...bytes]));
}

/** Two digits of the year until 2049 (RFC 5280, 4.1.2.5). */
function time(date: Date): Buffer {
  const digits = date.toISOString().replaceAll(/\D/g, '').slice(0, 14);
  const isShort = date.getUTCFullYear() < 2050;
  return der(isShort ? 0x17 : 0x18, Buffer.from(`${isShort ? digits.slice(2) : digits}Z`));
}
