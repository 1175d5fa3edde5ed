import { expect } from 'chai';
import { MonitorScratch, logText } from '../monitor/fixture.suite.js';
import { Busybox, usualSpec, whyNoContainers } from './busybox.suite.js';
import { compileContainerPlan } from './compile.js';

describe('a container from its plan, under a monitor', function () {
  let box: Busybox;
  let scratch: MonitorScratch;

  // Real containers, on machines that may be busy.
  this.timeout(60_000);

  before(async function () {
    const reason = whyNoContainers();
    if (reason !== undefined) {
      this.test?.parent && (this.test.parent.title += ` (skipped: ${reason})`);
      this.skip();
    }
    box = await Busybox.open();
    scratch = await MonitorScratch.open();
  });

  after(async () => {
    await scratch?.close();
    await box?.close();
  });

  const run = async (script: string, change: object = {}, readonly = false) => {
    const args = ['/bin/sh', '-c', script];
    const process = { ...usualSpec.process, args, ...change };
    const options = await box.options({ ...usualSpec, root: { path: '', readonly }, process });
    const tty = process.terminal === true;
    const { monitor, log } = await scratch.launch(compileContainerPlan(options), {
      stdio: { tty, stdin: false, stdinOnce: false },
    });
    const held = logText(await log(), 'stdout');
    await monitor.start();
    const { code, failure } = await monitor.exited;
    return { code, failure, held, out: logText(await log(), 'stdout') };
  };

  it('waits at the fifo, then runs', async () => {
    expect(await run('echo out; exit 4')).to.deep.equal({
      code: 4,
      failure: undefined,
      held: '',
      out: 'out\n',
    });
  });

  for (const readonly of [false, true]) {
    it(`has a terminal of its own${readonly ? ' on a read-only root' : ''}`, async () => {
      const change = { terminal: true, consoleSize: { height: 33, width: 77 }, user: { uid: 5, gid: 6 } };
      const script =
        'tty; stty size; stat -c "%u %a" /dev/pts/0 /dev/console; echo x > /dev/tty; ls -1 /proc/self/fd; awk \'$5 == "/dev/console" { print $9 }\' /proc/self/mountinfo';
      const { code, out } = await run(script, change, readonly);
      expect(code, out).to.equal(0);
      const lines = out.split(/\r?\n/);
      expect(lines.slice(0, 4)).to.deep.equal(['/dev/pts/0', '33 77', '5 620', '5 620']);
      expect(lines.slice(4, 10)).to.deep.equal(['x', '0', '1', '2', '3', 'devpts']);
    });
  }
});
