import { readFile, stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { MonitorScratch, Output, attachInput, initPlan, shell, whyNoMonitors } from './fixture.suite.js';

/** What a monitor may cost: these are budgets, measured with margin, not descriptions. */
const OWN_KIB = 80;
const RESIDENT_KIB = 600;
const LOG_MB_PER_CPU_SECOND = 150;

describe("a monitor's cost", function () {
  let scratch: MonitorScratch;

  before(async function () {
    if (whyNoMonitors() !== undefined) this.skip();
    scratch = await MonitorScratch.open();
  });

  after(async () => {
    await scratch?.close();
  });

  it('in memory, with the daemon and others sharing the helper', async () => {
    const shells = [
      await scratch.launch(initPlan(shell('sleep 300'))),
      await scratch.launch(initPlan(shell('sleep 300'))),
    ];
    for (const { monitor } of shells) await monitor.start();
    const memory = await smaps((await shells[0]?.pid()) ?? 0);
    console.log(`      resident ${memory.Rss} KiB, its own ${memory.Anonymous} KiB`);
    expect(memory.Anonymous).to.be.at.most(OWN_KIB);
    expect(memory.Rss).to.be.at.most(RESIDENT_KIB);
  });

  it('of writing the log, and the memory is given back afterwards', async () => {
    const script = 'read x; seq 1 3000000; echo done >&2; read y';
    const { monitor, pid, logPath } = await scratch.launch(initPlan(shell(script)), {
      stdio: { tty: false, stdin: true, stdinOnce: false },
    });
    await monitor.start();
    const process = await pid();
    const stderr = new Output();
    await monitor.attach({ stderr: stderr.writeEnd });
    stderr.handedOn();
    const input = await attachInput(monitor);
    input.write('\n');
    await stderr.until('done');
    const [ms, { size }] = [await cpuMs(process), await stat(logPath)];
    console.log(`      ${(size / 1000 / ms).toFixed(0)} MB of log per CPU second`);
    expect(size / 1000 / ms).to.be.greaterThan(LOG_MB_PER_CPU_SECOND);
    // The kernel tells nobody about this figure: it is asked until it is right, or the test is out of time.
    while ((await smaps(process)).Anonymous > OWN_KIB) await delay(50);
    await monitor.closeStdin();
    await monitor.exited;
  }).timeout(30_000);
});

async function smaps(pid: number): Promise<{ readonly Rss: number; readonly Anonymous: number }> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
  const field = (name: string): number => Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(text)?.[1]);
  return { Rss: field('Rss'), Anonymous: field('Anonymous') };
}

/** Fields 14 and 15 of /proc/PID/stat, in hundredths of a second. */
async function cpuMs(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
