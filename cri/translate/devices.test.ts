import { expect } from 'chai';
import { allDevices, toDeviceWishes, toDevices, toPrivilegedDevices } from './devices.js';
import { refusalOf } from '../testing/refusal.js';

describe('devices', () => {
  const wishes = (device: object) =>
    toDeviceWishes([{ hostPath: '/dev/x', containerPath: '', permissions: '', ...device }]);

  it('have the host’s name and every permission unless said otherwise', () => {
    expect(wishes({})).to.deep.equal([{ hostPath: '/dev/x', containerPath: '/dev/x', permissions: 'rwm' }]);
    expect(wishes({ containerPath: '/dev/y', permissions: 'wr' })).to.deep.equal([
      { hostPath: '/dev/x', containerPath: '/dev/y', permissions: 'wr' },
    ]);
  });

  it('of a privileged container are all of the host, and those it asks for under their names', () => {
    const found = {
      relativePath: '',
      type: 'c',
      major: 1,
      minor: 3,
      fileMode: 0o666,
      uid: 0,
      gid: 0,
    } as const;
    const asked = toDevices(
      wishes({ containerPath: '/dev/mine', permissions: 'r' }).map((wish) => ({ wish, found: [found] })),
    );
    expect(asked.rules).to.deep.equal([{ allow: true, type: 'c', major: 1, minor: 3, access: 'r' }]);
    const { devices, rules } = toPrivilegedDevices([{ ...found, relativePath: 'null' }], asked);
    expect(devices.map(({ path }) => path)).to.deep.equal(['/dev/null', '/dev/mine']);
    expect(rules).to.equal(allDevices);
  });

  for (const device of [
    { hostPath: 'x' },
    { hostPath: '' },
    { containerPath: '../x' },
    { permissions: 'rx' },
    { permissions: 'rr' },
    { permissions: 'rwmr' },
  ]) {
    it(`refuse ${JSON.stringify(device)}`, () => {
      expect(refusalOf(() => wishes(device))).to.match(/^InvalidArgument: config\.devices\[0\]/);
    });
  }
});
