import { expect } from 'chai';
import { silentLogger } from '../runtime/base/logger.js';
import { RuntimeError } from '../runtime/errors.js';
import { loadApparmor } from './apparmor-profile.js';

describe('the AppArmor profile of a choice', () => {
  const refusing = (code: 'FailedPrecondition' | 'Unavailable') => ({
    loadDefault: async () => {
      throw new RuntimeError(code, 'no parser');
    },
    checkLoaded: async () => {
      throw new RuntimeError(code, 'is not loaded');
    },
  });
  const able = { loadDefault: async () => 'ours', checkLoaded: async () => undefined };

  it('is none, ours, or the one that is named', async () => {
    expect(await loadApparmor({ kind: 'none' }, able, silentLogger)).to.be.undefined;
    expect(await loadApparmor({ kind: 'default', asked: true }, able, silentLogger)).to.equal('ours');
    expect(await loadApparmor({ kind: 'named', name: 'x' }, able, silentLogger)).to.equal('x');
  });

  for (const [name, choice, code, expected] of [
    [
      'that nobody asked for is left out where it cannot be',
      { kind: 'default', asked: false },
      'FailedPrecondition',
      undefined,
    ],
    [
      'that was asked for is refused there',
      { kind: 'default', asked: true },
      'FailedPrecondition',
      'refused',
    ],
    ['that fails to load is never left out', { kind: 'default', asked: false }, 'Unavailable', 'refused'],
    ['of the node is refused', { kind: 'named', name: 'x' }, 'FailedPrecondition', 'refused'],
  ] as const) {
    it(name, async () => {
      const outcome = await loadApparmor(choice, refusing(code), silentLogger).catch(() => 'refused');
      expect(outcome).to.equal(expected);
    });
  }
});
