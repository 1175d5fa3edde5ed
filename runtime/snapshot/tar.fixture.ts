import { createHash } from 'node:crypto';

/** Tars for tests, entry by entry, with any byte in any place: also what no sane writer would write. */
export interface TarItem {
  readonly path: string | Buffer;
  /** Default: a regular file; a directory if the path ends with a slash. */
  readonly type?: string;
  readonly content?: string | Buffer;
  readonly link?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  readonly major?: number;
  readonly minor?: number;
  /** PAX records in front of the entry. */
  readonly pax?: Readonly<Record<string, string | Buffer>>;
  /** Bytes to put over the header before its checksum is made, by offset. */
  readonly patch?: Readonly<Record<number, Buffer>>;
  /** What the header says of the size, if not the truth. */
  readonly size?: number;
}

const BLOCK = 512;

export function tar(...items: readonly TarItem[]): Buffer {
  return Buffer.concat([...items.map(tarEntry), Buffer.alloc(2 * BLOCK)]);
}

export function tarEntry(item: TarItem): Buffer {
  const content = Buffer.from(item.content ?? '');
  const extension = item.pax === undefined ? Buffer.alloc(0) : paxEntry(item.pax);
  return Buffer.concat([extension, header(item, content.length), padded(content)]);
}

export function diffIdOf(content: Buffer): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

export function paxRecord(key: string, value: string | Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value), Buffer.from('\n')]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

/** An entry of type x (or g) with these bytes as its records. */
export function rawPax(records: Buffer, type = 'x'): Buffer {
  return tarEntry({ path: 'PaxHeaders.0/entry', type, content: records });
}

function paxEntry(records: Readonly<Record<string, string | Buffer>>): Buffer {
  return rawPax(Buffer.concat(Object.entries(records).map(([key, value]) => paxRecord(key, value))));
}

function header(item: TarItem, length: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  const name = Buffer.from(item.path);
  const isDirectory = name.at(-1) === 0x2f;
  name.copy(block, 0, 0, 100);
  octal(block, 100, 8, item.mode ?? (isDirectory ? 0o755 : 0o644));
  octal(block, 108, 8, item.uid ?? 0);
  octal(block, 116, 8, item.gid ?? 0);
  octal(block, 124, 12, item.size ?? length);
  octal(block, 136, 12, item.mtime ?? 1_700_000_000);
  block.write(item.type ?? (isDirectory ? '5' : '0'), 156);
  block.write(item.link ?? '', 157, 100);
  block.write('ustar\x0000', 257);
  octal(block, 329, 8, item.major ?? 0);
  octal(block, 337, 8, item.minor ?? 0);
  for (const [offset, bytes] of Object.entries(item.patch ?? {})) bytes.copy(block, Number(offset));
  block.fill(' ', 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

function octal(block: Buffer, offset: number, size: number, value: number): void {
  block.write(value.toString(8).padStart(size - 1, '0'), offset);
}

export function padded(content: Buffer): Buffer {
  return Buffer.concat([content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)]);
}

/** A zstd frame of raw blocks (RFC 8878), which needs no compressor. */
export function zstdFrame(content: Buffer): Buffer {
  const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x80, 0x58, 0, 0, 0, 0]);
  header.writeUInt32LE(content.length, 6);
  const blocks: Buffer[] = [];
  const size = 64 * 1024;
  for (let at = 0; at === 0 || at < content.length; at += size) {
    const piece = content.subarray(at, at + size);
    const last = at + size >= content.length ? 1 : 0;
    const head = Buffer.alloc(3);
    head.writeUIntLE((piece.length << 3) | last, 0, 3);
    blocks.push(head, piece);
  }
  return Buffer.concat([header, ...blocks]);
}

export function zstdSkippable(content: Buffer): Buffer {
  const header = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
  header.writeUInt32LE(content.length, 4);
  return Buffer.concat([header, content]);
}

/** What a tar of podwright-unpack holds; for its own subset only. */
export interface ReadEntry {
  readonly path: string;
  readonly type: string;
  readonly link: string;
  readonly mode: number;
  readonly content: Buffer;
  readonly pax: Readonly<Record<string, Buffer>>;
}

export function readTar(bytes: Buffer): readonly ReadEntry[] {
  const entries: ReadEntry[] = [];
  let pax: Record<string, Buffer> = {};
  for (let at = 0; bytes[at] !== 0;) {
    const block = bytes.subarray(at, at + BLOCK);
    const size = parseInt(text(block, 124, 12), 8);
    const content = bytes.subarray(at + BLOCK, at + BLOCK + size);
    const type = String.fromCharCode(block[156] ?? 0);
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
    if (type === 'x') {
      pax = parsePax(content);
      continue;
    }
    const path = pax['path']?.toString('latin1') ?? text(block, 0, 100);
    const link = pax['linkpath']?.toString('latin1') ?? text(block, 157, 100);
    entries.push({ path, type, link, mode: parseInt(text(block, 100, 8), 8), content, pax });
    pax = {};
  }
  return entries;
}

function text(block: Buffer, offset: number, size: number): string {
  const field = block.subarray(offset, offset + size);
  const end = field.indexOf(0);
  return field.subarray(0, end < 0 ? size : end).toString('latin1');
}

function parsePax(records: Buffer): Record<string, Buffer> {
  const parsed: Record<string, Buffer> = {};
  for (let at = 0; at < records.length;) {
    const space = records.indexOf(' ', at);
    const length = Number(records.subarray(at, space).toString());
    const equals = records.indexOf('=', space);
    parsed[records.subarray(space + 1, equals).toString('latin1')] = records.subarray(
      equals + 1,
      at + length - 1,
    );
    at += length;
  }
  return parsed;
}
