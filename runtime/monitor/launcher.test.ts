import { readFile, readdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { closeFd, pidfdOpen, pidfdSendSignal, spawn, waitPidfd } from '../../native/index.js';
import { StepError } from '../errors.js';
import type { Plan } from '../plan/steps.js';
import { encodePlan } from '../plan/wire.js';
import {
  MonitorScratch,
  changed,
  execPlan,
  makeFifo,
  rejection,
  shell,
  whyNoMonitors,
} from './fixture.suite.js';
import { openHelper } from './descriptors.js';
import { runPlan } from './launcher.js';
import { ReportReader } from './report.js';

const CLONE_NEWUTS = 0x04000000;
const O_CREAT = 0x40;

describe('runPlan', function () {
  let scratch: MonitorScratch;

  before(async function () {
    if (whyNoMonitors() !== undefined) this.skip();
    scratch = await MonitorScratch.open();
  });

  after(async () => {
    await scratch?.close();
  });

  const run = (plan: Plan, signal?: AbortSignal): Promise<{ readonly pid: number | undefined }> =>
    runPlan({ helperFd: scratch.helperFd, plan: encodePlan(plan), signal });

  it('resolves with the pid of a pause process that is ready', async () => {
    const { pid = 0 } = await run({
      parent: [{ kind: 'clone', flags: CLONE_NEWUTS }],
      child: [{ kind: 'hostname', name: 'quiet' }, { kind: 'pause' }],
    });
    const pidfd = pidfdOpen(pid);
    pidfdSendSignal(pidfd, 15);
    expect(await waitPidfd(pidfd)).to.not.equal(undefined);
  });

  it('resolves when a plan without a child is done', async () => {
    const file = path.join(scratch.directory, 'made');
    const plan: Plan = {
      parent: [{ kind: 'open', out: 20, path: file, flags: O_CREAT, mode: 0o600 }],
      child: [],
    };
    expect(await run(plan)).to.deep.equal({ pid: undefined });
    expect((await stat(file)).isFile()).to.equal(true);
  });

  it('resolves when the child has become its command', async () => {
    const { pid = 0 } = await run(execPlan(shell('exit 6')));
    expect(await waitPidfd(pidfdOpen(pid))).to.deep.equal({ code: 6, signal: 0 });
  });

  it('names the step that failed, parent or child, and leaves no process', async () => {
    const before = await ownChildren();
    const parent = await rejection(
      run({ parent: [{ kind: 'open', out: 20, path: '/no/such', flags: 0 }], child: [] }),
    );
    expect((parent as StepError).failure).to.deep.include({ list: 0, index: 0, kind: 1, errno: 2 });
    const child = await rejection(
      run({
        parent: [{ kind: 'clone', flags: 0 }],
        child: [{ kind: 'chdir', path: '/no/such', create: false }, { kind: 'pause' }],
      }),
    );
    expect((child as StepError).failure).to.deep.include({ list: 1, index: 0, kind: 70, errno: 2 });
    expect(await rejection(runPlan({ helperFd: scratch.helperFd, plan: Buffer.alloc(40) }))).to.be.instanceOf(
      StepError,
    );
    expect(await ownChildren()).to.deep.equal(before);
  });

  it('reaps a child that failed before its launcher has reported it', async () => {
    const before = await ownChildren();
    const child = spawn({ file: '/bin/sleep', argv: ['sleep', '1000'], fds: [null, null, null] });
    // list 1, step 7, kind 70, errno 2, and two empty strings; then its pid
    const reports = [
      [3, 32, 1, 7, 70, 2, 1, 0, 1, 0],
      [1, 4, child.pid],
    ].map((words) => Buffer.from(new Uint32Array(words).buffer));
    const launcher = path.join(scratch.directory, 'launcher');
    const lines = reports.map((report) => `printf '${octal(report)}' >&4`);
    await writeFile(launcher, ['#!/bin/sh', ...lines, ''].join('\n'));
    const helperFd = await openHelper(launcher);
    const error = await rejection(runPlan({ helperFd, plan: new Uint8Array() }));
    closeFd(helperFd);
    expect((error as StepError).failure).to.deep.include({ list: 1, index: 7, errno: 2 });
    expect(await ownChildren()).to.deep.equal(before);
  });

  it('ends everything when the caller gives up', async () => {
    const before = await ownChildren();
    const fifo = path.join(scratch.directory, 'never-read');
    const made = path.join(scratch.directory, 'here');
    await makeFifo(fifo);
    const controller = new AbortController();
    const plan: Plan = {
      parent: [
        { kind: 'clone', flags: 0 },
        { kind: 'open', out: 20, path: made, flags: O_CREAT, mode: 0o600 },
        { kind: 'open', out: 21, path: fifo, flags: 0 },
      ],
      child: [{ kind: 'pause' }],
    };
    const outcome = rejection(run(plan, controller.signal));
    await changed(scratch.directory, async () => (await readdir(scratch.directory)).includes('here'));
    controller.abort();
    expect(await outcome).to.have.property('name', 'AbortError');
    expect(await rejection(run(plan, controller.signal))).to.have.property('name', 'AbortError');
    expect(await ownChildren()).to.deep.equal(before);
  });
});

/** As printf(1) of every shell understands bytes. */
function octal(bytes: Uint8Array): string {
  return [...bytes].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
}

async function ownChildren(): Promise<readonly string[]> {
  return (await readFile(`/proc/self/task/${process.pid}/children`, 'utf8')).split(' ');
}

describe('the report of a launch', () => {
  const record = (type: number, payload: Buffer): Buffer => {
    const header = Buffer.alloc(8);
    header.writeUInt16LE(type, 0);
    header.writeUInt32LE(payload.length, 4);
    return Buffer.concat([header, payload]);
  };
  const text = (value: string): Buffer => {
    const bytes = Buffer.alloc(4 + ((value.length + 4) & ~3));
    bytes.writeUInt32LE(value.length + 1);
    bytes.write(value, 4);
    return bytes;
  };
  const words = (...values: readonly number[]): Buffer => Buffer.from(new Uint32Array(values).buffer);

  it('is read the same however the pipe cuts it', () => {
    const bytes = Buffer.concat([
      record(1, words(77)),
      record(4, Buffer.concat([words(2), text('odd')])),
      record(99, words(1)),
      record(3, Buffer.concat([words(1, 5, 70, 2), text('chdir'), text('/x')])),
      record(2, Buffer.alloc(0)),
    ]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: bytes.length }), { maxLength: 8 }), (cuts) => {
        const reader = new ReportReader();
        const edges = [0, ...cuts.sort((a, b) => a - b), bytes.length];
        const reports = edges
          .slice(1)
          .flatMap((end, index) => reader.push(bytes.subarray(edges[index], end)));
        expect(reports).to.deep.equal([
          { type: 'pid', pid: 77 },
          { type: 'log', level: 2, text: 'odd' },
          {
            type: 'error',
            failure: { list: 1, index: 5, kind: 70, errno: 2, syscall: 'chdir', detail: '/x' },
          },
          { type: 'ready' },
        ]);
      }),
    );
  });

  it('is refused when it is nonsense', () => {
    expect(() => new ReportReader().push(record(3, Buffer.alloc(5000)))).to.throw(RangeError);
    expect(() => new ReportReader().push(record(3, Buffer.alloc(4)))).to.throw(RangeError);
    expect(() => new ReportReader().push(record(4, words(1, 100)))).to.throw(RangeError);
  });
});
