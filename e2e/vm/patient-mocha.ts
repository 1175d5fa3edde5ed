import Mocha from 'mocha';
import { slowness } from '../slowness.js';

/**
 * Loaded by mocha before the tests of a slow machine: every time-out that a test or suite sets for itself is longer by
 * the factor.
 */
const prototype = Mocha.Suite.prototype as unknown as { timeout: (this: unknown, ms?: number) => unknown };
const original = prototype.timeout;
prototype.timeout = function timeout(ms) {
  return ms === undefined ? original.call(this) : original.call(this, ms * slowness);
};
