import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { RuntimeError } from '../errors.js';
import { callProgram, type ProgramCall } from '../network/program.js';
import { defaultProfile } from './default-profile.js';
import { listed, openApparmor } from './index.js';

const signal = new AbortController().signal;

describe('AppArmor profiles', () => {
  it('are found in the kernel’s list by their whole name', () => {
    const list = 'podwright-default (enforce)\n/usr/bin/man (complain)\nname (of two) words (enforce)\n';
    for (const name of ['podwright-default', '/usr/bin/man', 'name (of two) words'])
      expect(listed(list, name), name).to.be.true;
    for (const name of [
      'podwright',
      'podwright-default (enforce)',
      '',
      'unconfined',
      'podwright-default//&x',
    ])
      expect(listed(list, name), name).to.be.false;
  });

  it('of ours are compiled once for all who wait, and again when somebody unloaded them', async () => {
    const directory = await mkdtemp(path.join(tmpdir(), 'pw-apparmor-'));
    const profilesFile = path.join(directory, 'profiles');
    const calls: ProgramCall[] = [];
    const profiles = openApparmor({
      profilesFile,
      callProgram: async (call) => {
        calls.push(call);
        await writeFile(profilesFile, 'other (enforce)\npodwright-default (enforce)\n');
        return { code: 0, stdout: '', stderr: '' };
      },
    });
    try {
      const names = await Promise.all([profiles.loadDefault(), profiles.loadDefault()]);
      expect(names).to.deep.equal(['podwright-default', 'podwright-default']);
      const once = [['--replace', '--skip-cache'], defaultProfile];
      expect(calls.map(({ args, input }) => [args, input])).to.deep.equal([once]);
      await profiles.checkLoaded('other');
      await writeFile(profilesFile, '');
      await profiles.loadDefault();
      expect(calls).to.have.length(2);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('of the node that are not loaded are refused by name', async () => {
    const profiles = openApparmor({ callProgram, profilesFile: '/dev/null' });
    const error: unknown = await profiles.checkLoaded('absent').catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(RuntimeError).and.include({ code: 'FailedPrecondition' });
    expect(String(error)).to.include('absent: is not loaded');
  });

  it('of ours that the parser refuses are refused with its words, and tried again', async () => {
    let code = 1;
    const profiles = openApparmor({
      callProgram: async () => ({ code, stdout: '', stderr: 'syntax error\n' }),
    });
    const error: unknown = await profiles.loadDefault().catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(RuntimeError).and.include({ code: 'Unavailable' });
    expect(String(error)).to.include('syntax error');
    code = 0;
    expect(await profiles.loadDefault()).to.equal('podwright-default');
  });

  it('of ours are what apparmor_parser understands', async function () {
    const call = { file: 'apparmor_parser', env: {}, input: defaultProfile, timeoutMs: 10_000 };
    const { code, stderr } = await callProgram(
      { ...call, args: ['--skip-kernel-load', '--skip-cache'] },
      signal,
    );
    if (code === 127) return this.skip(); // needs apparmor_parser
    expect(code, stderr).to.equal(0);
  });
});
