import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { parseSoftLimits } from './stats.js';

describe('soft limits', () => {
  it('come from /proc/PID/limits', () => {
    const text = [
      'Limit                     Soft Limit           Hard Limit           Units     ',
      'Max cpu time              unlimited            unlimited            seconds   ',
      'Max processes             unlimited            96436                processes ',
      'Max open files            1024                 524288               files     ',
      '',
    ].join('\n');
    expect([...parseSoftLimits(text)]).to.deep.equal([
      ['max_processes', undefined],
      ['max_open_files', 1024n],
    ]);
  });

  it('are there for this very process', async () => {
    const limits = parseSoftLimits(await readFile('/proc/self/limits', 'utf8'));
    expect([...limits.keys()]).to.have.members(['max_open_files', 'max_processes']);
  });
});
