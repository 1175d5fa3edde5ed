import { expect } from 'chai';
import { exitMessage } from './exit-message.js';

describe('the message of an exit', () => {
  const ended = (signal: number, oomKilled = false) => ({ signal, oomKilled });
  const stop = (firstSignal: number, waitedMs?: number) => ({ firstSignal, waitedMs });
  const cases: readonly (readonly [string, Parameters<typeof exitMessage>, string])[] = [
    ['an exit code', [ended(0), undefined, undefined], ''],
    [
      'a stop that was heeded',
      [ended(15), stop(15), undefined],
      'killed by signal 15 (SIGTERM), as it was asked to stop',
    ],
    [
      'a stop without grace',
      [ended(9), stop(9), undefined],
      'killed by signal 9 (SIGKILL), as it was asked to stop',
    ],
    [
      'a stop that was not',
      [ended(9), stop(15, 2034), undefined],
      "killed by signal 9 (SIGKILL): it had not ended 2 s after the stop's signal 15 (SIGTERM)",
    ],
    [
      'somebody else',
      [ended(9), undefined, undefined],
      'killed by signal 9 (SIGKILL), which Podwright did not send',
    ],
    [
      'a crash during a stop',
      [ended(11), stop(15, 5), undefined],
      'killed by signal 11 (SIGSEGV), which Podwright did not send',
    ],
    [
      'a real-time signal',
      [ended(40), undefined, undefined],
      'killed by signal 40, which Podwright did not send',
    ],
    [
      'its memory limit',
      [ended(9, true), undefined, 1024],
      'killed by the kernel: its memory limit of 1024 bytes was used up (raise it, or use less)',
    ],
    [
      'the memory of others',
      [ended(9, true), undefined, undefined],
      'killed by the kernel: the memory of its pod, or of the node, was used up',
    ],
  ];
  for (const [what, args, message] of cases)
    it(`says ${what}`, () => {
      expect(exitMessage(...args)).to.equal(message);
    });
});
