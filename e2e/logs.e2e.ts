import { execFile } from 'node:child_process';
import { mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import {
  type Bed,
  type Pod,
  containerConfig,
  createContainer,
  exec,
  exitOf,
  openBed,
  runContainer,
  runPod,
  statusOf,
} from './bed.js';
import { awaitLine, awaitLog, parseLog, readLog, readTexts } from './container-log.js';

const run = promisify(execFile);

/** Container logs in the format of the CRI: `TIME STREAM P|F TEXT`. */
describe('a log', () => {
  let bed: Bed;
  let pod: Pod;

  before(async () => {
    bed = await openBed();
    pod = await runPod(bed, 'pod');
  });
  after(async () => {
    await bed?.end();
  });

  it('has a line for each line, with its stream and its time', async () => {
    const begin = Date.now();
    const script = 'echo out; usleep 20000; echo err >&2; usleep 20000; printf "no end"';
    const container = await runContainer(bed, pod, containerConfig(bed, 'lines', script));
    await exitOf(bed, container.id);
    const lines = await readLog(container.log);
    expect(lines.map(({ stream, tag, text }) => [stream, tag, text])).to.deep.equal([
      ['stdout', 'F', 'out'],
      ['stderr', 'F', 'err'],
      ['stdout', 'P', 'no end'],
    ]);
    const times = lines.map(({ time }) => time);
    expect([...times].sort()).to.deep.equal(times);
    for (const time of times) expect(Date.parse(time)).to.be.within(begin - 1000, Date.now() + 1000);
  });

  it('is there, empty and with its mode, before the container says anything', async () => {
    const config = containerConfig(bed, 'silent', 'exit 0', { logPath: 'below/it/silent.log' });
    const container = await createContainer(bed, pod, config);
    const { size, mode } = await stat(container.log);
    expect([size, (mode & 0o777).toString(8)]).to.deep.equal([0, '640']);
    expect(((await stat(path.dirname(container.log))).mode & 0o777).toString(8)).to.equal('755');
    expect((await statusOf(bed, container.id)).logPath).to.equal(container.log);
  });

  it('splits long lines into parts of at most 16 KiB, and loses no byte of them', async () => {
    const bytes = 100_000;
    const script = `head -c ${bytes} /dev/zero | tr '\\0' x; echo; echo short`;
    const container = await runContainer(bed, pod, containerConfig(bed, 'long', script));
    await exitOf(bed, container.id);
    const lines = await readLog(container.log);
    const parts = lines.slice(0, -1);
    expect(parts.map(({ text }) => text).join('')).to.equal('x'.repeat(bytes));
    for (const { text } of parts) expect(text.length).to.be.at.most(16_384);
    expect(parts.map(({ tag }) => tag)).to.deep.equal([...parts.slice(1).map(() => 'P'), 'F']);
    expect(lines.at(-1)).to.include({ tag: 'F', text: 'short' });
  });

  it('keeps bytes as they are', async () => {
    const script = `printf 'nul\\000 esc\\033[1m latin\\351 cr\\r utf\\303\\251\\n'; printf '\\n\\n'`;
    const container = await runContainer(bed, pod, containerConfig(bed, 'bytes', script));
    await exitOf(bed, container.id);
    const content = (await readFile(container.log)).toString('latin1');
    expect(parseLog(content).map(({ text }) => text)).to.deep.equal([
      'nul\0 esc\x1b[1m latin\xe9 cr\r utf\xc3\xa9',
      '',
      '',
    ]);
  });

  it('does not mix up two streams that write at once', async () => {
    const count = 2000;
    const script = `i=0; while [ $i -lt ${count} ]; do echo "out $i"; echo "err $i" >&2; i=$((i+1)); done`;
    const container = await runContainer(bed, pod, containerConfig(bed, 'both', script));
    await exitOf(bed, container.id);
    const lines = await readLog(container.log);
    for (const [stream, word] of [
      ['stdout', 'out'],
      ['stderr', 'err'],
    ] as const) {
      const texts = lines.filter((line) => line.stream === stream).map(({ text }) => text);
      expect(texts).to.deep.equal(Array.from({ length: count }, (_, index) => `${word} ${index}`));
    }
  });

  it('goes on in a new file after each rotation, without losing a line', async () => {
    const script = 'i=0; while :; do echo $i; i=$((i+1)); usleep 1000; done';
    const container = await runContainer(bed, pod, containerConfig(bed, 'rotated', script));
    const files: string[] = [];
    for (let turn = 0; turn < 5; turn += 1) {
      await awaitLog(container.log, (lines) => lines.length > 5 || undefined);
      files.push(`${container.log}.${turn}`);
      await rename(container.log, `${container.log}.${turn}`);
      await bed.daemon.client.runtime.reopenContainerLog({ containerId: container.id });
    }
    await bed.daemon.client.runtime.stopContainer({ containerId: container.id, timeout: 0n });
    const all = await Promise.all([...files, container.log].map((file) => readTexts(file)));
    expect(all.flat()).to.deep.equal(all.flat().map((_, index) => String(index)));
  });

  it('comes back when its file and its directory were deleted', async () => {
    const script = 'mkfifo /pipe; echo ready; while :; do read line </pipe && echo "$line"; done';
    const config = containerConfig(bed, 'deleted', script, { logPath: 'gone/deleted.log' });
    const container = await runContainer(bed, pod, config);
    await awaitLine(container.log, 'ready');
    await rm(path.dirname(container.log), { recursive: true });
    await bed.daemon.client.runtime.reopenContainerLog({ containerId: container.id });
    await exec(bed, container.id, 'echo again >/pipe');
    await awaitLine(container.log, 'again');
  });

  it('is not kept where the request names none', async () => {
    const container = await runContainer(
      bed,
      pod,
      containerConfig(bed, 'none', 'yes | head -c 500000', { logPath: '' }),
    );
    expect(await exitOf(bed, container.id)).to.include({ exitCode: 0, logPath: '' });
  });

  describe('on a full disk', () => {
    let directory: string;
    let filling: Pod;

    before(async () => {
      directory = path.join(bed.daemon.instance.scratch, 'logs/small');
      await mkdir(directory, { recursive: true });
      await run('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'small', directory]);
      filling = await runPod(bed, 'filling', { logDirectory: directory });
    });
    after(async () => {
      await run('umount', ['-l', directory]);
    });

    it('the container goes on, and the log says what is lost once there is room', async () => {
      // It ends although nobody can keep what it says.
      const script = `i=0; while [ $i -lt 20000 ]; do echo "line $i of many"; i=$((i+1)); done; echo done >/done;
        while [ ! -e /go ]; do usleep 10000; done; echo "after"; while [ ! -e /end ]; do usleep 10000; done`;
      const container = await runContainer(bed, filling, containerConfig(bed, 'writer', script));
      const waited = await exec(bed, container.id, 'until [ -e /done ]; do usleep 10000; done');
      expect(waited.exitCode).to.equal(0);
      const full = parseLog(await readFile(container.log, 'utf8'));
      expect(full.length).to.be.lessThan(20_000);
      await rename(container.log, `${container.log}.full`);
      await bed.daemon.client.runtime.reopenContainerLog({ containerId: container.id });
      await rm(`${container.log}.full`);
      await exec(bed, container.id, 'touch /go');
      await awaitLine(container.log, 'after');
      const texts = await readTexts(container.log);
      expect(
        texts.some((text) => /lost|dropped/.test(text)),
        texts.slice(-5).join('\n'),
      ).to.equal(true);
      await exec(bed, container.id, 'touch /end');
      expect(await exitOf(bed, container.id)).to.include({ exitCode: 0 });
    });
  });
});
