import { mkdir, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { mount, umount } from '../../native/index.js';
import { Busybox, type Running, usualSpec, whyNoContainers } from './busybox.suite.js';
import { compileContainerPlan } from './compile.js';
import { MS_PRIVATE, MS_SHARED } from './kernel.js';

const MNT_DETACH = 2;

/** Mounts that come and go while a container runs, on a shared mount of the host. */
describe('mount propagation of a container', function () {
  let box: Busybox;
  let shared: string;
  const living: Running[] = [];

  // Real containers, on machines that may be busy.
  this.timeout(60_000);

  before(async function () {
    const reason = whyNoContainers();
    if (reason !== undefined) {
      this.test?.parent && (this.test.parent.title += ` (skipped: ${reason})`);
      this.skip();
    }
    box = await Busybox.open();
    shared = box.file('shared');
    await mkdir(shared);
    mount('tmpfs', shared, 'tmpfs', 0);
    mount('', shared, '', MS_SHARED);
    for (const name of ['host', 'guest']) await mkdir(path.join(shared, name));
  });

  afterEach(async () => {
    for (const running of living) running.kill();
    await Promise.all(living.splice(0).map(({ ended }) => ended));
    for (const name of ['host', 'guest'])
      try {
        umount(path.join(shared, name), MNT_DETACH);
      } catch {
        // not every test mounts there
      }
  });

  after(async () => {
    if (shared !== undefined) umount(shared, MNT_DETACH);
    await box?.close();
  });

  /** What each side sees of a mount that the other makes. */
  const seen = async (options: readonly string[], rootfsPropagation = ''): Promise<string> => {
    const capabilities = ['CAP_SYS_ADMIN', 'CAP_DAC_OVERRIDE'];
    const spec = {
      ...usualSpec,
      process: {
        ...usualSpec.process,
        args: ['/bin/sleep', '1000'],
        capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      },
      mounts: [
        ...(usualSpec.mounts ?? []),
        { destination: '/volume', type: 'bind', source: shared, options },
      ],
      linux: { ...usualSpec.linux, rootfsPropagation },
    };
    const init = await box.start(compileContainerPlan(await box.options(spec)));
    living.push(init);
    mount('tmpfs', path.join(shared, 'host'), 'tmpfs', 0);
    mount('', path.join(shared, 'host'), '', MS_PRIVATE);
    await writeFile(path.join(shared, 'host', 'from-host'), '');
    const script = 'mount -t tmpfs guest /volume/guest && touch /volume/guest/from-guest; ls /volume/host';
    const { code, out } = await box.exec(script, { spec, init, process: spec.process });
    expect(code, out).to.equal(0);
    const inContainer = out.includes('from-host') ? 'container sees host' : '';
    const onHost = (await readdir(path.join(shared, 'guest'))).includes('from-guest')
      ? 'host sees container'
      : '';
    return [inContainer, onHost].filter((part) => part !== '').join(', ');
  };

  it('is none when private', async () => {
    expect(await seen(['rbind', 'rprivate'])).to.equal('');
  });

  it('is to the container when slave', async () => {
    expect(await seen(['rbind', 'rslave'], 'rslave')).to.equal('container sees host');
  });

  it('is to the container when not mentioned', async () => {
    expect(await seen(['rbind'])).to.equal('container sees host');
  });

  it('is both ways when shared', async () => {
    expect(await seen(['rbind', 'rshared'], 'rshared')).to.equal('container sees host, host sees container');
  });
});
