import { mkdir } from 'node:fs/promises';
import { expect } from 'chai';
import { RuntimeError, SystemError, evidenceOf, wrapCondition, wrapError } from './errors.js';

describe('an error', () => {
  const full = new SystemError({ syscall: 'write', errno: 28, code: 'ENOSPC', path: '/a' });

  it('prints its chain once, and says what a full disk is', () => {
    expect(wrapError('unpack layer', wrapError('write', full, '"big"'), 'sha256:1').message).to.equal(
      'unpack layer sha256:1: write "big": write /a: ENOSPC (no space, or no inode, left on the device)',
    );
  });

  it('does not repeat the path of a call that Node made', async () => {
    const error: unknown = await mkdir('/nowhere/at/all').catch((thrown: unknown) => thrown);
    expect(wrapError('make directory', error, '/nowhere/at/all').message).to.equal(
      'make directory /nowhere/at/all: ENOENT: no such file or directory',
    );
    expect(wrapError('make it', error).message).to.equal(
      "make it: ENOENT: no such file or directory, mkdir '/nowhere/at/all'",
    );
  });

  it('of something that a request needs is not one of what the request is about', () => {
    const missing = new SystemError({ syscall: 'open', errno: 2, code: 'ENOENT', path: '/p' });
    expect(wrapError('profile', missing).code).to.equal('NotFound');
    expect(wrapCondition('profile', missing).code).to.equal('FailedPrecondition');
    expect(wrapCondition('profile', full).code).to.equal('ResourceExhausted');
    const typed = new RuntimeError('AlreadyExists', 'x', { reason: 'Word' });
    expect(wrapCondition('profile', typed)).to.include({ code: 'FailedPrecondition', reason: 'Word' });
  });

  it('has the evidence of all its causes, the outermost of each kind', () => {
    const inner = new RuntimeError('Internal', 'inner', {
      cause: full,
      evidence: { step: 'child 1 exec', output: 'inner' },
    });
    const outer = wrapError('outer', new Error('between', { cause: inner }), 'x', {
      stagesMs: { a: 1 },
      output: 'outer',
    });
    expect(evidenceOf(outer)).to.deep.equal({
      step: 'child 1 exec',
      output: 'outer',
      stagesMs: { a: 1 },
      systemCall: { syscall: 'write', errno: 'ENOSPC', path: '/a' },
    });
    expect(evidenceOf('text')).to.deep.equal({});
    expect(evidenceOf(undefined)).to.deep.equal({});
  });
});
