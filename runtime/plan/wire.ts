import { RuntimeError } from '../errors.js';
import { type Layout, type Wire, layoutByCode, layoutByKind } from './layout.js';
import type { Plan, PlanStep } from './steps.js';

/**
 * The launch plan's bytes, as native/helper/plan_format.h defines them.
 *
 * `encodePlan` is on the path of every pod start: it walks the table of layout.ts once over a buffer that is kept between
 * calls. `decodePlan` is for tests and for printing a plan that somebody else made; it believes nothing.
 */
export const planFormat = {
  magic: 0x4c505750,
  version: 1,
  maxBytes: 1 << 20,
  maxSteps: 16_384,
  noSlot: 0xffffffff,
} as const;

const HEADER_BYTES = 20;
const STEP_HEADER_BYTES = 8;

/** @throws InvalidArgument for a text with NUL or a number out of range, ResourceExhausted beyond 1 MiB or 4096 steps */
export function encodePlan(plan: Plan): Buffer {
  const steps = plan.parent.length + plan.child.length;
  if (steps > planFormat.maxSteps) throw tooLarge(`${steps} steps, at most ${planFormat.maxSteps}`);
  const writer = sharedWriter;
  writer.at = HEADER_BYTES;
  for (const step of plan.parent) encodeStep(writer, step);
  for (const step of plan.child) encodeStep(writer, step);
  const { buffer, at } = writer;
  buffer.writeUInt32LE(planFormat.magic, 0);
  buffer.writeUInt16LE(planFormat.version, 4);
  buffer.writeUInt16LE(0, 6);
  buffer.writeUInt32LE(at, 8);
  buffer.writeUInt32LE(plan.parent.length, 12);
  buffer.writeUInt32LE(plan.child.length, 16);
  return Buffer.from(buffer.subarray(0, at));
}

interface Writer {
  buffer: Buffer;
  at: number;
}

const sharedWriter: Writer = { buffer: Buffer.alloc(64 * 1024), at: 0 };

function encodeStep(writer: Writer, step: PlanStep): void {
  const layout = layoutByKind.get(step.kind);
  if (layout === undefined) throw new RuntimeError('Internal', `unknown plan step ${step.kind}`);
  const values = step as unknown as Readonly<Record<string, unknown>>;
  reserve(writer, STEP_HEADER_BYTES);
  const start = writer.at;
  writer.buffer.writeUInt16LE(layout.code, start);
  writer.buffer.writeUInt16LE(layout.flag !== undefined && values[layout.flag] === true ? 1 : 0, start + 2);
  writer.at = start + STEP_HEADER_BYTES;
  for (const [name, wire] of layout.fields) encodeValue(writer, wire, values[name], step, name);
  writer.buffer.writeUInt32LE(writer.at - start - STEP_HEADER_BYTES, start + 4);
}

// eslint-disable-next-line max-params -- called once per value of a plan: an options object would double the cost
function encodeValue(writer: Writer, wire: Wire, value: unknown, step: PlanStep, name: string): void {
  switch (wire) {
    case 'u32':
      return putU32(writer, numberIn(value ?? 0, 0, 0xffffffff, step, name));
    case 'i32':
      return putU32(writer, numberIn(value ?? 0, -0x80000000, 0x7fffffff, step, name) >>> 0);
    case 'slot':
    case 'umask':
      return putU32(writer, numberIn(value ?? planFormat.noSlot, 0, 0xffffffff, step, name));
    case 'bool':
      return putU32(writer, value === true ? 1 : 0);
    case 'zero':
      return putU32(writer, 0);
    case 'u64':
      return putU64(writer, BigInt(numberIn(value ?? 0, 0, Number.MAX_SAFE_INTEGER, step, name)));
    case 'big':
      return putU64(writer, bigIn(value, step, name));
    case 'str':
      return putString(writer, (value ?? '') as string, step, name);
    case 'bytes':
      return putBytes(writer, value as Uint8Array);
    case 'strs': {
      const texts = value as readonly string[];
      putU32(writer, texts.length);
      for (const text of texts) putString(writer, text, step, name);
      return;
    }
    case 'u32s': {
      const numbers = value as readonly number[];
      putU32(writer, numbers.length);
      for (const number of numbers) putU32(writer, numberIn(number, 0, 0xffffffff, step, name));
      return;
    }
    default:
      return putU32(writer, numberIn(wire.words.indexOf(value as string), 0, wire.words.length, step, name));
  }
}

// eslint-disable-next-line max-params -- as above
function numberIn(value: unknown, low: number, high: number, step: PlanStep, name: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= low && value <= high) return value;
  throw invalid(step, name, `${String(value)} is out of range`);
}

function bigIn(value: unknown, step: PlanStep, name: string): bigint {
  if (typeof value === 'bigint' && value >= 0n && value < 1n << 64n) return value;
  throw invalid(step, name, `${String(value)} is out of range`);
}

function invalid(step: PlanStep, name: string, why: string): RuntimeError {
  return new RuntimeError('InvalidArgument', `${step.about ?? step.kind}: ${name} ${why}`);
}

function tooLarge(why: string): RuntimeError {
  return new RuntimeError('ResourceExhausted', `the launch plan is too large: ${why}`);
}

function reserve(writer: Writer, bytes: number): void {
  const needed = writer.at + bytes;
  if (needed <= writer.buffer.length) return;
  // Twice the limit: a text is reserved at three bytes per UTF-16 unit before its true length is known.
  if (writer.at > planFormat.maxBytes || bytes > 4 * planFormat.maxBytes) throw tooLarge('more than 1 MiB');
  const grown = Buffer.alloc(Math.max(needed, 2 * writer.buffer.length));
  writer.buffer.copy(grown, 0, 0, writer.at);
  writer.buffer = grown;
}

function putU32(writer: Writer, value: number): void {
  reserve(writer, 4);
  writer.at = writer.buffer.writeUInt32LE(value, writer.at);
}

function putU64(writer: Writer, value: bigint): void {
  reserve(writer, 8);
  writer.at = writer.buffer.writeBigUInt64LE(value, writer.at);
}

function putString(writer: Writer, text: string, step: PlanStep, name: string): void {
  if (text.includes('\0')) throw invalid(step, name, 'has a NUL byte');
  reserve(writer, 8 + 3 * text.length);
  const start = writer.at + 4;
  const length = writer.buffer.write(text, start, 'utf8') + 1;
  writer.buffer.writeUInt32LE(length, start - 4);
  pad(writer, start + length - 1, start + length);
}

function putBytes(writer: Writer, bytes: Uint8Array): void {
  reserve(writer, 8 + bytes.length);
  const start = writer.buffer.writeUInt32LE(bytes.length, writer.at);
  writer.buffer.set(bytes, start);
  pad(writer, start + bytes.length, start + bytes.length);
}

/** Zeroes from `from` to the next multiple of 4 at or after `end`. */
function pad(writer: Writer, from: number, end: number): void {
  const next = (end + 3) & ~3;
  if (next > planFormat.maxBytes) throw tooLarge('more than 1 MiB');
  for (let at = from; at < next; at++) writer.buffer[at] = 0;
  writer.at = next;
}

/** @throws InvalidArgument for anything that is not a plan */
export function decodePlan(bytes: Uint8Array): Plan {
  const reader = new Reader(bytes);
  if (reader.u32() !== planFormat.magic) throw damaged('no magic');
  if (reader.u32() !== planFormat.version) throw damaged('another version');
  if (reader.u32() !== bytes.length) throw damaged('another length');
  const [parentSteps, childSteps] = [reader.u32(), reader.u32()];
  if (parentSteps + childSteps > planFormat.maxSteps) throw damaged('too many steps');
  const parent = Array.from({ length: parentSteps }, () => decodeStep(reader));
  const child = Array.from({ length: childSteps }, () => decodeStep(reader));
  if (!reader.ended) throw damaged('trailing bytes');
  return { parent, child };
}

function decodeStep(reader: Reader): PlanStep {
  const head = reader.u32();
  const layout = layoutByCode.get(head & 0xffff);
  if (layout === undefined) throw damaged(`unknown kind ${head & 0xffff}`);
  const end = reader.u32() + reader.at;
  const step: Record<string, unknown> = { kind: layout.kind };
  for (const [name, wire] of layout.fields) {
    const value = decodeValue(reader, wire);
    if (value !== undefined && name !== '') step[name] = value;
  }
  decodeFlags(step, layout, head >>> 16);
  if (reader.at !== end) throw damaged(`wrong length of ${layout.kind}`);
  return step as unknown as PlanStep;
}

function decodeFlags(step: Record<string, unknown>, layout: Layout, flags: number): void {
  if (flags === 0) return;
  if (flags !== 1 || layout.flag === undefined) throw damaged(`unknown flags of ${layout.kind}`);
  step[layout.flag] = true;
}

function decodeValue(reader: Reader, wire: Wire): unknown {
  switch (wire) {
    case 'u32':
      return reader.u32();
    case 'i32':
      return reader.u32() | 0;
    case 'slot':
    case 'umask': {
      const value = reader.u32();
      return value === planFormat.noSlot ? undefined : value;
    }
    case 'bool':
      return reader.below(2) === 1;
    case 'zero':
      return void reader.below(1);
    case 'u64':
      return Number(reader.u64());
    case 'big':
      return reader.u64();
    case 'str':
      return reader.text();
    case 'bytes':
      return reader.bytes(reader.u32());
    case 'strs':
      return Array.from({ length: reader.count() }, () => reader.text());
    case 'u32s':
      return Array.from({ length: reader.count() }, () => reader.u32());
    default:
      return wire.words[reader.below(wire.words.length)];
  }
}

class Reader {
  at = 0;
  readonly #view: Buffer;

  constructor(bytes: Uint8Array) {
    this.#view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get ended(): boolean {
    return this.at === this.#view.length;
  }

  u32(): number {
    return this.#take(4).readUInt32LE();
  }

  u64(): bigint {
    return this.#take(8).readBigUInt64LE();
  }

  below(limit: number): number {
    const value = this.u32();
    if (value >= limit) throw damaged(`value ${value}`);
    return value;
  }

  /** Number of elements of at least four bytes each that follow. */
  count(): number {
    return this.below((this.#view.length - this.at) / 4 + 1);
  }

  bytes(length: number): Buffer {
    const bytes = this.#take(length);
    this.#take(-length & 3);
    return Buffer.from(bytes);
  }

  text(): string {
    const bytes = this.bytes(this.u32());
    if (bytes.indexOf(0) !== bytes.length - 1) throw damaged('text without its NUL');
    return bytes.toString('utf8', 0, bytes.length - 1);
  }

  #take(length: number): Buffer {
    const end = this.at + length;
    if (end > this.#view.length) throw damaged('cut short');
    const bytes = this.#view.subarray(this.at, end);
    this.at = end;
    return bytes;
  }
}

function damaged(why: string): RuntimeError {
  return new RuntimeError('InvalidArgument', `not a launch plan: ${why}`);
}
