import { existsSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { StepError } from '../errors.js';
import { MonitorScratch, execPlan, initPlan, logText, whyNoMonitors } from './fixture.js';
import { encodePlan } from '../plan/wire.js';
import { openCapture } from '../../native/capture.js';
import { closeFd } from '../../native/index.js';

const sh = (script: string): readonly string[] => ['/bin/sh', '-c', script];

describe('a monitor', function () {
  let scratch: MonitorScratch;

  before(async function () {
    const reason = whyNoMonitors();
    if (reason !== undefined) {
      this.test?.parent && (this.test.parent.title += ` (skipped: ${reason})`);
      this.skip();
    }
    scratch = await MonitorScratch.open();
  });

  after(async () => {
    await scratch?.close();
  });

  it('holds init at the fifo, starts it, logs its output and tells its end', async () => {
    const { monitor, stateDir, log } = await scratch.launch(initPlan(sh('echo out; echo err >&2; exit 7')));
    expect(monitor.init.pid).to.be.greaterThan(1);
    expect(await log()).to.equal('');
    const { atNs } = await monitor.start();
    const exit = await monitor.exited;
    expect(exit).to.include({ code: 7, signal: 0, oomKilled: false, lost: false, failure: undefined });
    expect(exit.startedAtNs).to.equal(atNs);
    expect(exit.finishedAtNs >= atNs).to.equal(true);
    expect(logText(await log(), 'stdout')).to.equal('out\n');
    expect(logText(await log(), 'stderr')).to.equal('err\n');
    expect(await scratch.monitors.readExit(stateDir)).to.deep.equal(exit);
    expect(existsSync(path.join(stateDir, 'exec.fifo'))).to.equal(false);
    expect(existsSync(path.join(stateDir, 'monitor.sock'))).to.equal(false);
  });

  it('runs a command beside init and tells its end', async () => {
    const { monitor } = await scratch.launch(initPlan(sh('read forever < /dev/zero; exec sleep 100')));
    await monitor.start();
    const stdout = openCapture(1000);
    const execution = await monitor.exec({
      plan: encodePlan(execPlan(sh('echo hi; exit 3'))),
      stdout: stdout.writeEnd,
    });
    closeFd(stdout.writeEnd);
    expect(await execution.exited).to.deep.equal({ code: 3, signal: 0 });
    expect(stdout.finish().toString()).to.equal('hi\n');
    await monitor.signal(9);
    expect(await monitor.exited).to.include({ code: 137, signal: 9 });
  });
});
