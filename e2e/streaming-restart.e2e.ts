import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { strays } from './audit.js';
import { type Bed, type Pod, type Workload, containerConfig, hostNetwork, openBed } from './bed.js';
import { runContainer, runPod } from './bed.js';
import { eventually } from './eventually.js';
import { possessions } from './instance.js';
import {
  type CommandSession,
  type Transport,
  type Wanted,
  openCommand,
  transports,
} from './streaming-client.js';
import { runToEnd } from './streaming-client.js';
import { attachUrl, execCgroups, execUrl, noExecCgroups } from './streaming-urls.js';

/** Sessions and the end of the daemon: what is attached to lives on, what was executed does not. */
describe('streaming across restarts', function () {
  let bed: Bed;
  let pod: Pod;

  beforeEach(async () => {
    bed = await openBed();
    pod = await runPod(bed, 'restart', hostNetwork);
  });
  afterEach(async () => {
    await bed?.end();
  });

  const echo = (name: string, tty: boolean): Promise<Workload> => {
    const script = 'while read line; do echo "got $line"; done';
    return runContainer(bed, pod, containerConfig(bed, name, script, { stdin: true, tty }));
  };
  const says = async (session: CommandSession, line: string): Promise<void> => {
    session.stdin.write(`${line}\n`);
    let seen = '';
    for await (const chunk of session.stdout.iterator({ destroyOnReturn: false })) {
      seen += (chunk as Buffer).toString();
      if (seen.includes(`got ${line}`)) return;
    }
    throw new Error(`the session ended after ${JSON.stringify(seen)}`);
  };
  const attach = async (transport: Transport, { id }: Workload, wanted: Wanted): Promise<CommandSession> =>
    openCommand(await attachUrl(bed, id, wanted), transport, wanted);

  it('attaches to adopted containers, with a terminal and without', async () => {
    const containers = [await echo('plain', false), await echo('terminal', true)];
    const wanted = containers.map((_, index) => ({ stdin: true, stdout: true, tty: index === 1 }));
    const before = await Promise.all(
      containers.map((container, index) => attach('spdy', container, wanted[index] ?? {})),
    );
    await Promise.all(before.map((session) => says(session, 'before')));
    for (const end of ['stop', 'kill'] as const) {
      await bed.daemon[end]();
      await bed.daemon.start();
      for (const transport of transports) {
        for (const [index, container] of containers.entries()) {
          const session = await attach(transport, container, wanted[index] ?? {});
          if (index === 1) session.resize(90, 30);
          await says(session, `after ${end}`);
          session.socket.destroy();
        }
      }
    }
    await Promise.all(before.map(({ closed }) => closed));
  });

  it('ends what was executed when the daemon is killed', async () => {
    const target = await runContainer(bed, pod, containerConfig(bed, 'target', ['sleep', '3600']));
    const script = '(trap "" HUP; sleep 3600) & echo got it; sleep 3600';
    const sessions = [];
    for (const wanted of [
      { stdin: true, stdout: true, stderr: true },
      { stdin: true, stdout: true, tty: true },
    ]) {
      for (const transport of transports) {
        const url = await execUrl(bed, target, script, wanted);
        const session = await openCommand(url, transport, wanted);
        await says(session, 'it');
        sessions.push(session);
      }
    }
    const cgroups = await execCgroups(bed, target);
    expect(cgroups.length).to.equal(sessions.length);
    await bed.daemon.kill();
    await noExecCgroups(bed, target);
    // As a daemon leaves it that is killed before it tells the monitor.
    await mkdir(path.join(path.dirname(cgroups[0] ?? ''), 'exec-0123456789ab'));
    // The monitor of the container and the pause process of the pod are left, no relay of a terminal.
    const commands = await eventually(
      async () => (await possessions(bed.daemon.instance)).box.length,
      (count) => count <= 1,
    );
    expect(commands).to.be.at.most(1);
    await Promise.all(sessions.map(({ closed }) => closed));
    await bed.daemon.start();
    expect(await strays(bed)).to.deep.equal([]);
    expect(await execCgroups(bed, target)).to.deep.equal([]);
    const wanted = { stdin: true, stdout: true };
    const again = await openCommand(await execUrl(bed, target, 'cat', wanted), 'spdy', wanted);
    expect((await runToEnd(again, 'again')).stdout.toString()).to.equal('again');
    await noExecCgroups(bed, target);
  });
});
