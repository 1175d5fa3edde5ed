import { expect } from 'chai';
import { toDeviceWishes } from './devices.js';
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
