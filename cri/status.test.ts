import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { RuntimeError, errorCodes, wrapError } from '../runtime/errors.js';
import { kubeletReasons, statusByCode, statusOf } from './status.js';

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

  for (const reason of kubeletReasons) {
    it(`of ${reason} is what the kubelet recognises: UNKNOWN, and the word first`, () => {
      const cause = new RuntimeError('Unavailable', 'reach registry', { cause: 'refused', reason });
      expect(statusOf(wrapError('pull image', cause, 'a.example/b'))).to.deep.equal({
        code: status.UNKNOWN,
        details: `${reason}: pull image a.example/b: reach registry: refused`,
      });
    });
  }

  it('of any other reason is that of its code', () => {
    const error = new RuntimeError('NotFound', 'pull image', { reason: 'ImageNotFound' });
    expect(statusOf(error)).to.deep.equal({ code: status.NOT_FOUND, details: 'pull image' });
  });
});
