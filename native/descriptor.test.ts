import { expect } from 'chai';
import { constants } from 'node:fs';
import { closeSync, mkdirSync, openSync, readFileSync, symlinkSync, writeFileSync, writeSync } from 'node:fs';
import { fchmodSync, ftruncateSync } from 'node:fs';
import path from 'node:path';
import { closeFd, openat2, pipe, sealedMemfd, setWindowSize, spawn, tryFlock, waitPidfd } from './index.js';
import { makeScratch, openDescriptors, removeScratch } from './scratch.js';

const RESOLVE_NO_SYMLINKS = 0x04;
const RESOLVE_BENEATH = 0x08;
const RESOLVE_IN_ROOT = 0x10;

describe('descriptors', () => {
  let scratch: string;
  before(async () => {
    scratch = await makeScratch();
  });
  after(() => removeScratch(scratch));

  it('seals a memfd against every change', () => {
    const fd = sealedMemfd('plan', Buffer.from('content'), false);
    expect(readFileSync(`/proc/self/fd/${fd}`, 'utf8')).to.equal('content');
    expect(() => writeSync(fd, 'x', 0)).to.throw(/EPERM/);
    expect(() => ftruncateSync(fd, 3)).to.throw(/EPERM/);
    expect(() => ftruncateSync(fd, 300)).to.throw(/EPERM/);
    const again = openSync(`/proc/self/fd/${fd}`, 'r+');
    expect(() => writeSync(again, 'x', 0)).to.throw(/EPERM/);
    closeSync(again);
    closeFd(fd);
  });

  it('keeps a program executable for all who share it', function () {
    const fd = sealedMemfd('program', readFileSync('/bin/true'), true);
    try {
      fchmodSync(fd, 0o644);
      this.skip(); // needs F_SEAL_EXEC (Linux 6.3)
    } catch (error) {
      expect(error).to.include({ code: 'EPERM' });
    } finally {
      closeFd(fd);
    }
  });

  it('resolves below a root as if it were the root', () => {
    mkdirSync(path.join(scratch, 'root/etc'), { recursive: true });
    writeFileSync(path.join(scratch, 'root/etc/passwd'), 'inside');
    symlinkSync('/etc', path.join(scratch, 'root/absolute'));
    symlinkSync('../../../../../etc', path.join(scratch, 'root/climbing'));
    const root = openSync(path.join(scratch, 'root'), 'r');
    for (const name of ['absolute/passwd', 'climbing/passwd', '/etc/passwd', '../etc/passwd']) {
      const fd = openat2(root, name, { flags: constants.O_RDONLY, resolve: RESOLVE_IN_ROOT });
      expect(readFileSync(fd, 'utf8'), name).to.equal('inside');
      closeFd(fd);
    }
    const code = (name: string, resolve: number): unknown => {
      try {
        return openat2(root, name, { flags: constants.O_RDONLY, resolve });
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    expect(code('climbing/passwd', RESOLVE_BENEATH)).to.equal('EXDEV');
    expect(code('absolute/passwd', RESOLVE_NO_SYMLINKS)).to.equal('ELOOP');
    expect(code('etc/passwd', 0x8000)).to.equal('EINVAL');
    closeSync(root);
  });

  it('creates with the mode given', () => {
    const directory = openSync(scratch, 'r');
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;
    closeFd(openat2(directory, 'new', { flags, mode: 0o600 }));
    expect(() => openat2(directory, 'new', { flags, mode: 0o600 })).to.throw(/openat2 new: EEXIST/);
    closeSync(directory);
  });

  it('locks once', () => {
    const file = path.join(scratch, 'lock');
    const first = openSync(file, 'w');
    const second = openSync(file, 'w');
    expect(tryFlock(first)).to.equal(true);
    expect(tryFlock(first)).to.equal(true);
    expect(tryFlock(second)).to.equal(false);
    closeSync(first);
    expect(tryFlock(second)).to.equal(true);
    closeSync(second);
    expect(() => tryFlock(second)).to.throw(/flock: EBADF/);
  });

  it('sets the size of a terminal', async () => {
    const terminal = openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY);
    setWindowSize(terminal, 132, 43);
    const [readEnd, writeEnd] = pipe();
    const { pidfd } = spawn({
      file: '/bin/stty',
      argv: ['stty', 'size'],
      fds: [terminal, writeEnd, writeEnd],
    });
    closeFd(writeEnd);
    await waitPidfd(pidfd);
    expect(readFileSync(readEnd, 'utf8')).to.equal('43 132\n');
    closeFd(readEnd);
    expect(() => setWindowSize(readEnd, 1, 1)).to.throw(/ioctl: EBADF/);
    closeSync(terminal);
  });

  it('leaks nothing when a call fails', () => {
    const before = openDescriptors();
    expect(() => sealedMemfd('x'.repeat(300), Buffer.alloc(0), false)).to.throw(/memfd_create .*: EINVAL/);
    expect(openDescriptors()).to.equal(before);
  });
});
