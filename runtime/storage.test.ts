import { expect } from 'chai';
import { deviceOf, parseDiskstats, storageFigures } from './storage.js';

describe('storage figures', () => {
  it('name the device of the innermost mount', () => {
    const mountinfo = [
      '27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw',
      '30 27 8:1 / /var/lib rw - xfs /dev/sda1 rw',
      '31 27 8:2 / /var/lib/pod rw - xfs /dev/sdb rw',
      '32 27 8:3 / /mnt/with\\040space rw master:2 - xfs /dev/sdc rw',
      '33 30 8:4 / /var/lib rw - btrfs /dev/sdd rw',
    ].join('\n');
    expect(deviceOf(mountinfo, '/var/lib/podwright')).to.equal('/dev/sdd');
    expect(deviceOf(mountinfo, '/var/lib/pod')).to.equal('/dev/sdb');
    expect(deviceOf(mountinfo, '/mnt/with space/x')).to.equal('/dev/sdc');
    expect(deviceOf(mountinfo, '/srv')).to.equal('/dev/vda');
  });

  it('name block devices', () => {
    const names = parseDiskstats(' 254       0 vda 1 2 3\n   7      10 loop10 0 0\n');
    expect([...names]).to.deep.equal([
      ['254:0', '/dev/vda'],
      ['7:10', '/dev/loop10'],
    ]);
  });

  it('are those of a real file system', async () => {
    const { filesystem } = await storageFigures('/')();
    expect(filesystem.device).not.to.equal('');
    expect(Number(filesystem.bytes)).to.be.above(0);
    expect(filesystem.inodesFree <= filesystem.inodes).to.equal(true);
  });
});
