import { expect } from 'chai';
import { findExternal, parseMounts } from './external.js';

describe('what of a container is the host’s', () => {
  it('is read from mountinfo, with its escapes, optional fields and flags', () => {
    const lines = [
      '1 0 0:30 / / ro,relatime - overlay overlay rw,lowerdir=a',
      '2 1 8:1 /a\\040b /with\\040space\\134 rw,nosuid master:1 propagate_from:2 - ext4 /dev/sda1 ro',
      '',
    ];
    expect(parseMounts(lines.join('\n'))).to.deep.equal([
      { mountpoint: '/', root: '/', type: 'overlay', readOnly: true },
      { mountpoint: '/with space\\', root: '/a b', type: 'ext4', readOnly: false },
    ]);
  });

  it('is nothing of the namespaces that we have ourselves', async () => {
    expect((await findExternal(process.pid, new Set())).namespaces).to.deep.equal([]);
  });

  it('cannot be told of a process that has ended', async () => {
    const error = await findExternal(2 ** 22 + 1, new Set()).catch((reason: unknown) => reason);
    expect(error).to.include({ code: 'FailedPrecondition' });
  });
});
