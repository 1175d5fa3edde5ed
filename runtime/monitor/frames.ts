import { RuntimeError } from '../errors.js';

/**
 * The monitor protocol as TypeScript; native/helper/frames.h describes it, and a test holds the numbers equal.
 *
 * A frame is a type, a request number and values by name. Numbers are native endian: little on every architecture we
 * run on. Unknown tags are passed over, so that a daemon and a monitor of different versions understand each other.
 */
export const FRAME_VERSION = 1;
export const MAX_FRAME_BYTES = 65_536;
export const MAX_FRAME_FDS = 16;
/** Descriptors of a launch that the daemon may pass with its plan: the slots between PASSED and FREE. */
export const MAX_PASSED_FDS = 8;

export const MONITOR_SOCKET_FD = 3;
export const MONITOR_SOCKET_NAME = 'monitor.sock';
export const MONITOR_EXIT_NAME = 'exit';

export const frameTypes = {
  hello: 1,
  create: 2,
  created: 3,
  failed: 4,
  ok: 5,
  start: 6,
  started: 7,
  exec: 8,
  'exec-started': 9,
  'exec-exited': 10,
  'exec-kill': 11,
  signal: 12,
  resize: 13,
  'reopen-log': 14,
  attach: 15,
  limits: 16,
  exited: 17,
  log: 18,
  'close-stdin': 19,
  init: 20,
} as const;

export type FrameType = keyof typeof frameTypes;

/** Number and wire type of each tag. */
export const frameTags = {
  pid: [1, 'u32'],
  startTime: [2, 'u64'],
  phase: [3, 'u32'],
  errno: [4, 'u32'],
  syscall: [5, 'text'],
  detail: [6, 'text'],
  message: [7, 'text'],
  stepList: [8, 'u32'],
  stepIndex: [9, 'u32'],
  stepKind: [10, 'u32'],
  flags: [11, 'u32'],
  containerId: [12, 'text'],
  logPath: [13, 'text'],
  oomPath: [14, 'text'],
  killPath: [15, 'text'],
  exitCode: [16, 'u32'],
  exitSignal: [17, 'u32'],
  oom: [18, 'u32'],
  oomKills: [19, 'u64'],
  atNs: [20, 'u64'],
  startedAtNs: [21, 'u64'],
  logLostBytes: [22, 'u64'],
  signal: [23, 'u32'],
  columns: [24, 'u32'],
  rows: [25, 'u32'],
  execCgroup: [26, 'text'],
  logRateBytes: [27, 'u64'],
  level: [28, 'u32'],
} as const;

export const frameFlags = {
  tty: 1,
  stdin: 2,
  stdinOnce: 4,
  stdout: 8,
  stderr: 16,
  cgroup: 32,
  killCgroup: 64,
  restore: 128,
} as const;

type TagName = keyof typeof frameTags;
interface WireTypes {
  readonly u32: number;
  readonly u64: bigint;
  readonly text: string;
}

export type FrameValues = {
  readonly [Tag in TagName]?: WireTypes[(typeof frameTags)[Tag][1]] | undefined;
};

export interface Frame {
  /** Undefined: a type of a later version. */
  readonly type: FrameType | undefined;
  readonly request: number;
  readonly values: FrameValues;
}

const HEADER_BYTES = 8;
const VALUE_HEADER_BYTES = 4;
/** The length of a value is a u16. */
const MAX_TEXT_BYTES = 65_535;

/** @throws InvalidArgument for a text that no frame can carry */
export function encodeFrame(type: FrameType, request: number, values: FrameValues = {}): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16LE(frameTypes[type], 0);
  header.writeUInt16LE(FRAME_VERSION, 2);
  header.writeUInt32LE(request, 4);
  const parts: Buffer[] = [header];
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined) parts.push(encodeValue(frameTags[name as TagName][0], value));
  }
  const frame = Buffer.concat(parts);
  if (frame.length > MAX_FRAME_BYTES) {
    throw new RuntimeError('InvalidArgument', `${type} request of ${frame.length} bytes is too long`);
  }
  return frame;
}

function encodeValue(tag: number, value: number | bigint | string): Buffer {
  const content = encodeContent(value);
  if (content.length > MAX_TEXT_BYTES)
    throw new RuntimeError('InvalidArgument', 'text is too long for the monitor');
  const bytes = Buffer.alloc(VALUE_HEADER_BYTES + padded(content.length));
  bytes.writeUInt16LE(tag, 0);
  bytes.writeUInt16LE(content.length, 2);
  content.copy(bytes, VALUE_HEADER_BYTES);
  return bytes;
}

function encodeContent(value: number | bigint | string): Buffer {
  if (typeof value === 'string') {
    if (value.includes('\0'))
      throw new RuntimeError('InvalidArgument', 'text for the monitor holds a NUL byte');
    return Buffer.from(value);
  }
  const content = Buffer.alloc(typeof value === 'bigint' ? 8 : 4);
  if (typeof value === 'bigint') content.writeBigUInt64LE(value);
  else content.writeUInt32LE(value);
  return content;
}

function padded(length: number): number {
  return (length + 3) & ~3;
}

const typesByNumber = new Map<number, FrameType>(
  Object.entries(frameTypes).map(([name, number]) => [number, name as FrameType]),
);
const tagsByNumber = new Map<number, readonly [TagName, keyof WireTypes]>(
  Object.entries(frameTags).map(([name, [number, kind]]) => [number, [name as TagName, kind]]),
);

/** Reads a frame, or an exit record. @throws DataLoss if the lengths do not fit */
export function decodeFrame(bytes: Buffer): Frame {
  if (bytes.length < HEADER_BYTES) throw malformed();
  const values: Record<string, number | bigint | string> = {};
  for (let at = HEADER_BYTES; at < bytes.length;) {
    if (bytes.length - at < VALUE_HEADER_BYTES) throw malformed();
    const tag = tagsByNumber.get(bytes.readUInt16LE(at));
    const length = bytes.readUInt16LE(at + 2);
    at += VALUE_HEADER_BYTES;
    if (bytes.length - at < padded(length)) throw malformed();
    if (tag !== undefined) values[tag[0]] = decodeContent(bytes.subarray(at, at + length), tag[1]);
    at += padded(length);
  }
  return {
    type: typesByNumber.get(bytes.readUInt16LE(0)),
    request: bytes.readUInt32LE(4),
    values,
  };
}

function decodeContent(content: Buffer, kind: keyof WireTypes): number | bigint | string {
  if (kind === 'text') return content.toString();
  if (content.length !== (kind === 'u64' ? 8 : 4)) throw malformed();
  return kind === 'u64' ? content.readBigUInt64LE() : content.readUInt32LE();
}

function malformed(): RuntimeError {
  return new RuntimeError('DataLoss', 'read frame of the monitor: malformed');
}
