import type { StepFailure } from '../errors.js';

/** One record of a launch's report pipe, as native/helper/plan_format.h lists them. */
export type Report =
  | { readonly type: 'pid'; readonly pid: number }
  | { readonly type: 'ready' }
  | { readonly type: 'error'; readonly failure: StepFailure }
  | { readonly type: 'log'; readonly level: number; readonly text: string };

export const reportTypes = { pid: 1, ready: 2, error: 3, log: 4 } as const;

const HEADER_BYTES = 8;
const MAX_RECORD_BYTES = 4096;

/** Cuts the pipe's bytes into records. Unknown types are passed over. */
export class ReportReader {
  #rest: Buffer = Buffer.alloc(0);

  /** The records that are complete with this chunk. @throws RangeError for nonsense */
  push(chunk: Buffer): readonly Report[] {
    const reports: Report[] = [];
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (bytes.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + bytes.readUInt32LE(4);
      if (end > MAX_RECORD_BYTES) throw new RangeError(`report of ${end} bytes`);
      if (bytes.length < end) break;
      const report = decodeReport(bytes.readUInt16LE(0), bytes.subarray(HEADER_BYTES, end));
      if (report !== undefined) reports.push(report);
      bytes = bytes.subarray(end);
    }
    this.#rest = bytes;
    return reports;
  }
}

function decodeReport(type: number, payload: Buffer): Report | undefined {
  switch (type) {
    case reportTypes.pid:
      return { type: 'pid', pid: payload.readUInt32LE(0) };
    case reportTypes.ready:
      return { type: 'ready' };
    case reportTypes.error:
      return { type: 'error', failure: decodeFailure(payload) };
    case reportTypes.log:
      return { type: 'log', level: payload.readUInt32LE(0), text: readString(payload, 4).text };
    default:
      return undefined;
  }
}

function decodeFailure(payload: Buffer): StepFailure {
  const syscall = readString(payload, 16);
  return {
    list: payload.readUInt32LE(0),
    index: payload.readUInt32LE(4),
    kind: payload.readUInt32LE(8),
    errno: payload.readUInt32LE(12),
    syscall: syscall.text,
    detail: readString(payload, syscall.end).text,
  };
}

/** u32 length with the final NUL, the bytes, padding to 4. */
function readString(payload: Buffer, at: number): { readonly text: string; readonly end: number } {
  const length = payload.readUInt32LE(at);
  const from = at + 4;
  if (length === 0 || from + length > payload.length) throw new RangeError('report with a text that is cut');
  return { text: payload.toString('utf8', from, from + length - 1), end: from + ((length + 3) & ~3) };
}
