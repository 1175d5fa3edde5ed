import { expect } from 'chai';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdir, rmdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { processCounts } from './index.js';

describe('process counts', () => {
  /** A cgroup of our own in a hierarchy that takes processes without further ado. */
  async function makeCgroup(): Promise<string | undefined> {
    for (const hierarchy of ['/sys/fs/cgroup/pids', '/sys/fs/cgroup/unified', '/sys/fs/cgroup']) {
      const directory = path.join(hierarchy, `podwright-counts-${process.pid}`);
      try {
        await access(path.join(hierarchy, 'cgroup.procs'));
        await mkdir(path.join(directory, 'below'), { recursive: true });
        return directory;
      } catch {
        // Not here: the next one.
      }
    }
    return undefined;
  }

  it('of a cgroup and those below it', async function () {
    const cgroup = await makeCgroup();
    if (cgroup === undefined) return this.skip();
    const child = spawn('/bin/bash', ['-c', 'exec 9<>/dev/null; echo ready; read'], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    try {
      await once(child.stdout, 'data');
      expect(await processCounts([cgroup])).to.deep.equal([{ processes: 0, descriptors: 0, sockets: 0 }]);
      await writeFile(path.join(cgroup, 'below', 'cgroup.procs'), String(child.pid));
      const [counts] = await processCounts([cgroup]);
      // Node gives a child sockets for pipes.
      expect(counts).to.include({ processes: 1, sockets: 2 });
      expect(counts?.descriptors).to.be.at.least(4);
    } finally {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      await rmdir(path.join(cgroup, 'below'));
      await rmdir(cgroup);
    }
  });

  it('are undefined where there is no cgroup', async () => {
    expect(await processCounts(['/sys/fs/cgroup/podwright-no-such'])).to.deep.equal([undefined]);
  });
});
