import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { errorCodes } from '../runtime/errors.js';
import { statusByCode } from './status.js';

describe('gRPC status', () => {
  it('exists for every error code, a different one for each', () => {
    expect(Object.keys(statusByCode).sort()).to.deep.equal([...errorCodes].sort());
    expect(new Set(Object.values(statusByCode)).size).to.equal(errorCodes.length);
  });

  for (const code of errorCodes) {
    it(`of ${code} is its namesake`, () => {
      const name = code.replace(/(?!^)([A-Z])/g, '_$1').toUpperCase();
      expect(status[statusByCode[code]]).to.equal(name);
    });
  }
});
