import { expect } from 'chai';
import { errnoName } from './errno.js';

describe('the name of an error number', () => {
  it('is that of the kernel', () => {
    const known = [1, 2, 11, 13, 26, 40, 95];
    expect(known.map(errnoName)).to.deep.equal([
      'EPERM',
      'ENOENT',
      'EAGAIN',
      'EACCES',
      'ETXTBSY',
      'ELOOP',
      'EOPNOTSUPP',
    ]);
    expect(errnoName(4000)).to.equal('E4000');
  });
});
