import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { SystemError, isErrno } from '../errors.js';
import { changed, execPlan, MonitorScratch, shell, whyNoMonitors } from './fixture.suite.js';

/**
 * The monitor's side of a restore, with a shell in the place of CRIU: a process whose parent has ended becomes the
 * monitor's child, as an init that CRIU makes is from the start.
 */
describe('a monitor whose init is made by a program', function () {
  let scratch: MonitorScratch;
  const restore = { restore: true, killCgroup: false };
  /** Prints the pid of a process that is the monitor's child, then goes on. */
  const makeInit = (init: string, then: string): string =>
    `( sh -c '${init}' & echo $! ) | { read pid; echo "init $pid"; }; ${then}`;

  before(async function () {
    if (whyNoMonitors() !== undefined) this.skip();
    scratch = await MonitorScratch.open();
  });
  after(async () => scratch?.close());

  const initPid = async (logPath: string, log: () => Promise<string>): Promise<number> => {
    const find = async (): Promise<number> =>
      Number(/init (\d+)/.exec(await log().catch(() => ''))?.[1] ?? 0);
    await changed(path.dirname(logPath), async () => (await find()) > 0);
    return find();
  };

  it('runs when init was named, and tells that one’s end', async () => {
    const { monitor, log, logPath } = await scratch.launch(
      execPlan(shell(makeInit('exec sleep 30', 'sleep 30'))),
      restore,
    );
    const program = monitor.init.pid;
    const pid = await initPid(logPath, log);
    const { atNs } = await monitor.becomeInit(pid);
    expect(Number(atNs)).to.be.greaterThan(0);
    expect(monitor.init.pid).to.equal(pid);
    const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
    expect(monitor.init.startTime).to.equal(fields[19]);
    process.kill(program, 'SIGKILL');
    await monitor.signal(15);
    expect(await monitor.exited).to.include({ signal: 15, startedAtNs: atNs });
  });

  it('takes no process that is not its child, and not the program itself', async () => {
    const { monitor } = await scratch.launch(execPlan(shell('sleep 30')), restore);
    for (const pid of [1, process.pid, monitor.init.pid]) {
      const error: unknown = await monitor.becomeInit(pid).catch((reason: unknown) => reason);
      expect(error).to.be.instanceOf(SystemError);
      expect(isErrno(error, 'ECHILD')).to.equal(true);
    }
    await monitor.signal(9);
    expect(await monitor.exited).to.include({ signal: 9, startedAtNs: 0n });
  });

  it('ends with a program that made no init', async () => {
    const { monitor } = await scratch.launch(execPlan(shell('exit 4')), restore);
    expect(await monitor.exited).to.include({ code: 4, startedAtNs: 0n });
  });

  it('says which step failed before the program ran', async () => {
    const error: unknown = await scratch
      .launch(execPlan(['/nonexistent']), restore)
      .catch((reason: unknown) => reason);
    expect(error).to.have.nested.property('failure.syscall', 'execve');
  });
});
