import { createHash } from 'node:crypto';
import { lstat, mkdir, readFile, readdir, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import type { Mount } from '../spec/types.js';
import { Busybox, type Run, usualSpec, whyNoContainers } from './busybox.suite.js';

/** Everything that can be seen of a tree without running anything: names, types, modes, contents. */
async function fingerprint(directory: string): Promise<string> {
  const hash = createHash('sha256');
  for (const name of (await readdir(directory, { recursive: true })).sort()) {
    const file = path.join(directory, name);
    const stats = await lstat(file);
    hash.update(`${name} ${stats.mode} ${stats.uid} ${stats.nlink} ${stats.mtimeMs}\n`);
    if (stats.isFile()) hash.update(await readFile(file));
    if (stats.isSymbolicLink()) hash.update(await readlink(file));
  }
  return hash.digest('hex');
}

type Outcome = Run | { readonly message: string };

/** Images that try to make the runtime write, mount or look outside of their root. */
describe('a hostile image', function () {
  let box: Busybox;
  let canary: string;

  // Real containers, on machines that may be busy.
  this.timeout(60_000);

  before(async function () {
    const reason = whyNoContainers();
    if (reason !== undefined) {
      this.test?.parent && (this.test.parent.title += ` (skipped: ${reason})`);
      this.skip();
    }
    box = await Busybox.open();
    canary = box.file('canary');
    await mkdir(path.join(canary, 'sub'), { recursive: true });
    await writeFile(path.join(canary, 'file'), 'alive');
    await writeFile(path.join(canary, 'null'), 'alive');
    await writeFile(path.join(canary, 'ptmx'), 'alive');
  });

  after(async () => box?.close());

  /** Runs the image with links in it; whatever happens, nothing may have happened to the canary or the host's mounts. */
  const attack = async (
    links: Readonly<Record<string, string>>,
    script = 'true',
    spec = usualSpec,
  ): Promise<Outcome> => {
    const layer = await box.layer();
    for (const [name, target] of Object.entries(links)) {
      const link = path.join(layer.path, name);
      await mkdir(path.dirname(link), { recursive: true });
      await symlink(target, link);
    }
    const before = [await fingerprint(canary), await box.hostMounts()];
    const outcome = await box
      .run(script, spec, { layers: [layer.name] })
      .catch(({ message }: Error) => ({ message }));
    expect([await fingerprint(canary), await box.hostMounts()]).to.deep.equal(before);
    return outcome;
  };

  const ran = (outcome: Outcome): string => {
    if ('message' in outcome) throw new Error(outcome.message);
    return outcome.out;
  };

  const targets = () => ({
    absolute: canary,
    relative: `../../../../../../../..${canary}`,
    short: `..${canary}`,
  });

  for (const kind of ['absolute', 'relative', 'short'] as const) {
    it(`with /dev as a link out (${kind})`, async () => {
      const out = ran(await attack({ dev: targets()[kind] }, 'ls -l /dev/null /dev/ptmx; readlink -f /dev'));
      // The link was followed, but inside the image: that is where the devices are.
      expect(out)
        .to.include(canary)
        .and.to.match(/1, +3 .*null/);
    });

    for (const name of ['proc', 'sys']) {
      it(`with /${name} as a link out (${kind}) does not start`, async () => {
        const outcome = await attack({ [name]: targets()[kind] });
        expect(outcome)
          .to.have.property('message')
          .that.matches(new RegExp(`^mount /${name} \\((proc|sysfs)\\): .*symbolic link`));
      });
    }

    it(`with /etc as a link out (${kind}) gets its files inside`, async () => {
      await writeFile(box.file('hosts'), 'ours');
      const hosts: Mount = {
        destination: '/etc/hosts',
        type: 'bind',
        source: box.file('hosts'),
        options: ['bind', 'private'],
      };
      const spec = { ...usualSpec, mounts: [...(usualSpec.mounts ?? []), hosts] };
      expect(ran(await attack({ etc: targets()[kind] }, 'cat /etc/hosts', spec))).to.equal('ours');
    });
  }

  it('with links in /dev of its own', async () => {
    const links = {
      'dev/null': `${canary}/null`,
      'dev/ptmx': `${canary}/ptmx`,
      'dev/pts': canary,
      'dev/mqueue': `../..${canary}`,
      'dev/console': `${canary}/file`,
      'dev/fd': canary,
    };
    const mounts = (usualSpec.mounts ?? []).filter(({ destination }) => destination !== '/dev');
    const out = ran(
      await attack(links, 'ls -l /dev/null; readlink /dev/ptmx; readlink /dev/fd', { ...usualSpec, mounts }),
    );
    expect(out)
      .to.match(/^c.* 1, +3 .*\/dev\/null/)
      .and.to.include('pts/ptmx');
  });

  it('with links under masked and read-only paths', async () => {
    const linux = {
      ...usualSpec.linux,
      maskedPaths: ['/hide/sub', '/hide/file'],
      readonlyPaths: ['/keep/sub'],
    };
    const outcome = await attack({ hide: canary, keep: `../..${canary}` }, 'true', { ...usualSpec, linux });
    ran(outcome);
  });

  it('with links in the way of mounts and devices', async () => {
    const destinations = ['/a/b/c', '/a/file', '/loop/x', '/up/x'];
    const links = { a: canary, loop: '/loop', up: '../../../../../../..', dangling: `${canary}/none` };
    for (const destination of [...destinations, '/dangling/x']) {
      const mount = { destination, type: 'tmpfs', source: 'tmpfs' };
      const outcome = await attack(links, 'true', {
        ...usualSpec,
        mounts: [...(usualSpec.mounts ?? []), mount],
      });
      if (destination.startsWith('/loop'))
        expect(outcome).to.have.property('message').that.includes('symbolic link');
      else ran(outcome);
    }
    const devices = [
      { path: '/a/device', type: 'c', major: 1, minor: 3 } as const,
      { path: '/up/device', type: 'p' } as const,
    ];
    ran(await attack(links, 'true', { ...usualSpec, linux: { ...usualSpec.linux, devices } }));
  });

  it('with its working directory as a link out', async () => {
    const process = { ...usualSpec.process, cwd: '/work/dir' };
    expect(ran(await attack({ work: canary }, 'pwd -P', { ...usualSpec, process }))).to.equal(
      `${canary}/dir\n`,
    );
  });

  it('cannot make its start happen in a directory of the host', async () => {
    for (let fd = 3; fd < 30; fd++) {
      const process = { ...usualSpec.process, cwd: `/proc/self/fd/${fd}` };
      expect(await attack({}, 'pwd', { ...usualSpec, process }), String(fd))
        .to.have.property('message')
        .that.matches(/working directory/);
    }
  });

  it('cannot have the sysctls or labels written elsewhere', async () => {
    const mounts: readonly Mount[] = [
      ...(usualSpec.mounts ?? []),
      { destination: '/proc/sys', type: 'tmpfs', source: 'tmpfs' },
    ];
    const linux = { ...usualSpec.linux, readonlyPaths: [], sysctl: { 'kernel.shmmax': '4096' } };
    const spec = { ...usualSpec, mounts, linux };
    expect(ran(await attack({}, 'ls -A /proc/sys; cat /proc/sysvipc/shm | wc -l', spec))).to.equal('1\n');
  });

  it('swapping a directory of a shared volume for a link meanwhile', async () => {
    const volume = box.file('volume');
    await mkdir(path.join(volume, 'real'), { recursive: true });
    await symlink(canary, path.join(volume, 'link'));
    const before = await fingerprint(canary);
    let running = true;
    const swapping = (async () => {
      while (running) {
        await rename(path.join(volume, 'real'), path.join(volume, 'spare')).catch(() => undefined);
        await rename(path.join(volume, 'link'), path.join(volume, 'real')).catch(() => undefined);
        await rename(path.join(volume, 'real'), path.join(volume, 'link')).catch(() => undefined);
        await rename(path.join(volume, 'spare'), path.join(volume, 'real')).catch(() => undefined);
      }
    })();
    const mounts: readonly Mount[] = [
      ...(usualSpec.mounts ?? []),
      { destination: '/volume', type: 'bind', source: volume, options: ['rbind', 'rprivate'] },
      { destination: '/volume/real/made/here', type: 'tmpfs', source: 'tmpfs' },
    ];
    try {
      for (let round = 0; round < 25; round++) {
        await box.run('true', { ...usualSpec, mounts }).catch((error: Error) => error);
        expect(await fingerprint(canary)).to.equal(before);
      }
    } finally {
      running = false;
      await swapping;
    }
    await rm(volume, { recursive: true });
  });
});
