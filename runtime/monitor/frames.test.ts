import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import fc from 'fast-check';
import {
  FRAME_VERSION,
  MAX_FRAME_BYTES,
  MAX_FRAME_FDS,
  MONITOR_EXIT_NAME,
  MONITOR_SOCKET_FD,
  MONITOR_SOCKET_NAME,
  decodeFrame,
  encodeFrame,
  frameFlags,
  frameTags,
  frameTypes,
  type FrameType,
} from './frames.js';
import { reportTypes } from './report.js';

/** "FRAME_EXEC_KILL = 11" and "FLAG_TTY = 1u << 0" as ["exec-kill", 11] and ["tty", 1]. */
function enumOf(header: string, prefix: string, separator: '-' | 'camel'): Record<string, number> {
  const found = header.matchAll(new RegExp(`^ +${prefix}_([A-Z_]+) = (\\d+)u?(?: << (\\d+))?,`, 'gm'));
  return Object.fromEntries(
    [...found].map(([, name = '', number, shift = '0']) => [
      rename(name, separator),
      Number(number) << Number(shift),
    ]),
  );
}

function rename(name: string, separator: '-' | 'camel'): string {
  const lower = name.toLowerCase();
  return separator === '-'
    ? lower.replaceAll('_', '-')
    : lower.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}

function define(header: string, name: string): string | undefined {
  return new RegExp(`^#define ${name} ("?)([^"\\s]+?)u?\\1(?:\\s|$)`, 'm').exec(header)?.[2];
}

describe('the monitor protocol', () => {
  let header: string;

  before(async () => {
    header = await readFile('native/helper/frames.h', 'utf8');
  });

  it('has the numbers of frames.h', () => {
    expect(frameTypes).to.deep.equal(enumOf(header, 'FRAME', '-'));
    expect(
      Object.fromEntries(Object.entries(frameTags).map(([name, [number]]) => [name, number])),
    ).to.deep.equal(enumOf(header, 'TAG', 'camel'));
    expect(frameFlags).to.deep.equal(enumOf(header, 'FLAG', 'camel'));
    expect(define(header, 'FRAME_VERSION')).to.equal(String(FRAME_VERSION));
    expect(define(header, 'FRAME_MAX_BYTES')).to.equal(String(MAX_FRAME_BYTES));
    expect(define(header, 'FRAME_MAX_FDS')).to.equal(String(MAX_FRAME_FDS));
    expect(define(header, 'MONITOR_SOCKET_FD')).to.equal(String(MONITOR_SOCKET_FD));
    expect(define(header, 'MONITOR_SOCKET_NAME')).to.equal(MONITOR_SOCKET_NAME);
    expect(define(header, 'MONITOR_EXIT_NAME')).to.equal(MONITOR_EXIT_NAME);
  });

  it('has the wire types that frames.h gives the tags', () => {
    const types = [...header.matchAll(/^ +TAG_([A-Z_]+) = \d+, +\/\* (u32|u64|text)/gm)];
    expect(types.length).to.be.greaterThan(15);
    for (const [, name = '', kind] of types) {
      expect(frameTags[rename(name, 'camel') as keyof typeof frameTags][1], name).to.equal(kind);
    }
  });

  it('has the numbers of the report records in plan_format.h', async () => {
    expect(reportTypes).to.deep.equal(
      enumOf(await readFile('native/helper/plan_format.h', 'utf8'), 'REPORT', '-'),
    );
  });

  it('reads what it writes', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...(Object.keys(frameTypes) as FrameType[])),
        fc.integer({ min: 0, max: 0xffff_ffff }),
        fc.record(
          {
            pid: fc.integer({ min: 0, max: 0xffff_ffff }),
            atNs: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
            detail: fc.string({ unit: 'grapheme', maxLength: 300 }).filter((text) => !text.includes('\0')),
          },
          { requiredKeys: [] },
        ),
        (type, request, values) => {
          expect(decodeFrame(encodeFrame(type, request, values))).to.deep.equal({ type, request, values });
        },
      ),
    );
  });

  it('passes over tags and types of later versions', () => {
    const frame = Buffer.concat([encodeFrame('ok', 5, { pid: 3 }), Buffer.from([99, 1, 3, 0, 1, 2, 3, 0])]);
    frame.writeUInt16LE(4000, 0);
    expect(decodeFrame(frame)).to.deep.equal({ type: undefined, request: 5, values: { pid: 3 } });
  });

  it('refuses lengths that do not fit, and never reads beyond the packet', () => {
    const whole = encodeFrame('log', 1, { level: 2, message: 'abc' });
    for (let length = 0; length < whole.length; length++) {
      const cut = whole.subarray(0, length);
      if (length === 8 || length === 16) expect(decodeFrame(cut).type).to.equal('log');
      else expect(() => decodeFrame(cut), `${length} bytes`).to.throw('malformed');
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decodeFrame(Buffer.from(bytes));
        } catch (error) {
          expect(error).to.have.property('code', 'DataLoss');
        }
      }),
    );
  });

  it('refuses texts that no frame can carry', () => {
    expect(() => encodeFrame('create', 1, { logPath: 'a\0b' })).to.throw('NUL');
    expect(() => encodeFrame('create', 1, { logPath: 'x'.repeat(70_000) })).to.throw('too long');
    expect(() => encodeFrame('create', 1, { logPath: 'x'.repeat(65_535) })).to.throw('too long');
  });
});
