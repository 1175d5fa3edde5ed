import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { expect } from 'chai';
import { openCapture, type Capture } from './capture.js';
import { closeFd } from './index.js';

/** Runs a shell command whose output is captured, until it ends. */
async function run(script: string, capture: Capture): Promise<string> {
  const child = spawn('/bin/sh', ['-c', script], { stdio: ['ignore', capture.writeEnd, 'ignore'] });
  closeFd(capture.writeEnd);
  await once(child, 'exit');
  return capture.finish().toString();
}

describe('a capture of output', () => {
  it('takes what is in the pipe when the command has ended', async () => {
    expect(await run('echo one; echo two', openCapture(1024))).to.equal('one\ntwo\n');
    expect(await run('true', openCapture(1024))).to.equal('');
  });

  it('reads on while the command writes more than a pipe holds', async () => {
    expect(await run('head -c 300000 /dev/zero', openCapture(1 << 20))).to.have.length(300_000);
  });

  it('keeps no more than its bound', async () => {
    expect(await run('echo 123456789', openCapture(4))).to.equal('1234');
    expect(await run('head -c 300000 /dev/zero', openCapture(100_000))).to.have.length(100_000);
  });

  it('does not wait for whoever else has the pipe open', async () => {
    const capture = openCapture(1024);
    const child = spawn('/bin/sleep', ['30'], { stdio: ['ignore', capture.writeEnd, 'ignore'] });
    expect(await run('echo now', capture)).to.equal('now\n');
    expect(capture.finish().toString()).to.equal('now\n');
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
});
