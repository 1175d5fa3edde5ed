import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { silentLogger } from '../base/logger.js';
import { openSnapshotter } from './index.js';
import { isRoot, unpackerPath } from './unpack.fixture.js';

const program = fileURLToPath(new URL('./crash.fixture.js', import.meta.url));

function run(root: string, failpoint: string | undefined): Promise<NodeJS.Signals | null> {
  const env = failpoint === undefined ? process.env : { ...process.env, FAILPOINTS: `${failpoint}=crash` };
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [program, root], { env });
    child.once('close', (_code, signal) => resolve(signal));
  });
}

describe('snapshotter killed anywhere', function () {
  this.timeout(30_000);
  let root: string;
  before(function () {
    if (!isRoot) {
      console.log('      needs root');
      this.skip();
    }
  });
  beforeEach(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'podwright-crash-'));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const hasLayer: Record<string, boolean> = {
    'snapshot.unpack.after-mkdir': false,
    'snapshot.commit.before-rename': false,
    'snapshot.commit.after-rename': true,
    'snapshot.prepare.after-directories': true,
    'snapshot.remove.before-record': true,
    'snapshot.reap.after-rename': false,
  };
  for (const [failpoint, expected] of Object.entries(hasLayer)) {
    it(`at ${failpoint} is whole or clean after the next start`, async () => {
      expect(await run(root, failpoint)).to.equal('SIGKILL');
      const store = await openSnapshotter({ root, logger: silentLogger, unpackerPath, bootId: 'boot' });
      await store.snapshots.sweep(new Set());
      expect(store.layers.has('chain')).to.equal(expected);
      await store.close();
      const left = await Promise.all(
        ['ingest', 'containers', 'layers'].map((name) => readdir(path.join(root, name))),
      );
      expect(left).to.deep.equal([[], [], expected ? ['0', '1'] : ['0']]);
      expect(await run(root, undefined)).to.equal(null);
    });
  }
});
