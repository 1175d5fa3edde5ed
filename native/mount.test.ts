import { expect } from 'chai';
import { constants } from 'node:fs';
import { closeSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import {
  closeFd,
  fsconfigCreate,
  fsconfigSet,
  fsmount,
  fsopen,
  mount,
  mountSetattr,
  moveMount,
  openTree,
  openat2,
  umount,
} from './index.js';
import type { Fd } from './index.js';
import { makeScratch, removeScratch } from './scratch.js';

const AT_FDCWD = -100;
const AT_RECURSIVE = 0x8000;
const MS_BIND = 4096;
const MNT_DETACH = 2;
const MOUNT_ATTR_RDONLY = 0x1;

function detached(type: string, options: Readonly<Record<string, string>>, attributes = 0): Fd {
  const context = fsopen(type);
  try {
    for (const [key, value] of Object.entries(options)) fsconfigSet(context, key, value);
    fsconfigCreate(context);
    return fsmount(context, attributes);
  } finally {
    closeFd(context);
  }
}

function write(directory: Fd, name: string, content: string): void {
  const fd = openat2(directory, name, { flags: constants.O_WRONLY | constants.O_CREAT, mode: 0o644 });
  writeSync(fd, content);
  closeFd(fd);
}

function read(directory: Fd, name: string): string {
  const fd = openat2(directory, name, { flags: constants.O_RDONLY });
  const content = readFileSync(fd, 'utf8');
  closeFd(fd);
  return content;
}

describe('mounts', () => {
  let scratch: string;
  before(async function () {
    if (process.getuid?.() !== 0) this.skip(); // needs root
    scratch = await makeScratch();
  });
  after(() => removeScratch(scratch));

  it('uses a file system that is mounted nowhere', () => {
    const mountsBefore = readFileSync('/proc/self/mounts', 'utf8');
    const tmpfs = detached('tmpfs', { size: '1m', mode: '0700' });
    write(tmpfs, 'a', 'detached');
    expect(read(tmpfs, 'a')).to.equal('detached');
    expect(readFileSync('/proc/self/mounts', 'utf8')).to.equal(mountsBefore);

    const copy = openTree(tmpfs, '.', AT_RECURSIVE);
    mountSetattr(copy, { set: MOUNT_ATTR_RDONLY, recursive: true });
    expect(read(copy, 'a')).to.equal('detached');
    expect(() => write(copy, 'a', 'x')).to.throw(/EROFS/);
    write(tmpfs, 'a', 'still writable');
    closeFd(copy);
    closeFd(tmpfs);
  });

  it('looks into an overlay of layers', () => {
    for (const layer of ['1', '2']) mkdirSync(path.join(scratch, layer));
    writeFileSync(path.join(scratch, '1/passwd'), 'upper');
    writeFileSync(path.join(scratch, '2/passwd'), 'lower');
    writeFileSync(path.join(scratch, '2/group'), 'group');
    const overlay = detached('overlay', { lowerdir: `${scratch}/1:${scratch}/2` }, MOUNT_ATTR_RDONLY);
    expect([read(overlay, 'passwd'), read(overlay, 'group')]).to.deep.equal(['upper', 'group']);
    closeFd(overlay);
  });

  it('attaches and binds', () => {
    const [target, bound] = [path.join(scratch, 'target'), path.join(scratch, 'bound')];
    mkdirSync(target);
    mkdirSync(bound);
    const tmpfs = detached('tmpfs', {});
    write(tmpfs, 'a', 'x');
    moveMount(tmpfs, AT_FDCWD, target);
    closeFd(tmpfs);
    try {
      mount(target, bound, '', MS_BIND);
      expect(readFileSync(path.join(bound, 'a'), 'utf8')).to.equal('x');
      umount(bound, 0);
      const tree = openTree(AT_FDCWD, target, 0);
      const onto = openSync(bound, 'r');
      moveMount(tree, onto, '');
      closeSync(onto);
      closeFd(tree);
      expect(readFileSync(path.join(bound, 'a'), 'utf8')).to.equal('x');
      umount(bound, MNT_DETACH);
    } finally {
      umount(target, MNT_DETACH);
    }
    expect(statSync(target).dev).to.equal(statSync(scratch).dev);
  });

  it('names the call, the errno and the object', () => {
    expect(() => mount('none', '/nowhere', 'tmpfs', 0, 'size=1m')).to.throw(/^mount \/nowhere: ENOENT$/);
    expect(() => umount(scratch, 0)).to.throw(`umount2 ${scratch}: EINVAL`);
    expect(() => fsopen('nosuchfs')).to.throw(/^fsopen nosuchfs: ENODEV$/);
    const context = fsopen('tmpfs');
    expect(() => fsconfigSet(context, 'nosuchoption', 'x')).to.throw(/^fsconfig nosuchoption: EINVAL$/);
    expect(() => fsconfigSet(context, 'nosuchflag')).to.throw(/^fsconfig nosuchflag: EINVAL$/);
    closeFd(context);
    expect(() => fsmount(context, 0)).to.throw(/^fsmount: EBADF$/);
    expect(() => openTree(AT_FDCWD, '/nowhere', 0)).to.throw(/^open_tree \/nowhere: ENOENT$/);
    expect(() => moveMount(context, AT_FDCWD, scratch)).to.throw(/^move_mount .*: EBADF$/);
  });
});
