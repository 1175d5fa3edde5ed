import { expect } from 'chai';
import { containerConfig, testImage } from '../testing/fixtures.js';
import { toArgs, toCwd, toEnv } from './process.js';
import { refusalOf } from '../testing/refusal.js';

const { config: image } = testImage();

describe('command, environment and directory', () => {
  for (const [command, args, entrypoint, cmd, expected] of [
    [[], [], ['/e'], ['c'], ['/e', 'c']],
    [[], ['a'], ['/e'], ['c'], ['/e', 'a']],
    [['/x'], [], ['/e'], ['c'], ['/x']],
    [['/x'], ['a'], ['/e'], ['c'], ['/x', 'a']],
    [[], [], [], ['c'], ['c']],
    [[], ['a'], [], ['c'], ['a']],
  ] as [string[], string[], string[], string[], string[]][]) {
    it(`${JSON.stringify([command, args])} over ${JSON.stringify([entrypoint, cmd])}`, () => {
      const own = { ...image, entrypoint, cmd };
      expect(toArgs(containerConfig({ command, args }), own)).to.deep.equal(expected);
    });
  }

  for (const [name, command] of [
    ['nothing to run', []],
    ['an empty command', ['']],
    ['a NUL byte', ['/bin/sh', 'a\0b']],
    ['an argument above the limit of the kernel', ['/bin/sh', 'x'.repeat(128 * 1024)]],
    [
      'arguments above the limit in all',
      ['/bin/sh', ...Array.from({ length: 20 }, () => 'x'.repeat(100_000))],
    ],
  ] as [string, string[]][]) {
    it(`refuses ${name}`, () => {
      const empty = { ...image, entrypoint: [], cmd: [] };
      expect(refusalOf(() => toArgs(containerConfig({ command }), empty))).to.match(
        /^InvalidArgument: config\.command/,
      );
    });
  }

  const env = (envs: [string, string][], imageEnv: string[] = [], tty = false) =>
    toEnv(
      containerConfig({ envs: envs.map(([key, value]) => ({ key, value: Buffer.from(value) })), tty }),
      { ...image, env: imageEnv },
      { hostname: 'h', home: '/root' },
    );
  const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

  it('has HOSTNAME, PATH and HOME, and TERM with a terminal', () => {
    expect(env([])).to.deep.equal(['HOSTNAME=h', path, 'HOME=/root']);
    expect(env([], [], true)).to.deep.equal(['HOSTNAME=h', path, 'TERM=xterm', 'HOME=/root']);
  });

  it('puts the image over the defaults and the request over the image', () => {
    const imageEnv = ['PATH=/i', 'A=i', 'B=i=i', 'nothing', '=x', 'N=\0', 'HOME=/i'];
    const got = env(
      [
        ['A', 'r'],
        ['C', ''],
        ['HOSTNAME', 'x\ny'],
      ],
      imageEnv,
    );
    expect(got).to.deep.equal(['HOSTNAME=x\ny', 'PATH=/i', 'A=r', 'B=i=i', 'HOME=/i', 'C=']);
  });

  for (const [key, value] of [
    ['', 'x'],
    ['A=B', 'x'],
    ['A\0', 'x'],
    ['A', 'x\0'],
    ['A', 'x'.repeat(128 * 1024)],
  ] as [string, string][]) {
    it(`refuses the variable ${JSON.stringify(key)}=${JSON.stringify(value.slice(0, 5))}`, () => {
      expect(refusalOf(() => env([[key, value]]))).to.match(/^InvalidArgument: config\.envs\[0\]/);
    });
  }

  for (const [workingDir, ofImage, expected] of [
    ['', '', '/'],
    ['', '/app/', '/app'],
    ['', 'app', '/app'],
    ['/x//y/.', '/app', '/x/y'],
    ['x', '', 'InvalidArgument: config.working_dir: must be an absolute path, not "x"'],
    ['/x/../y', '', 'InvalidArgument: config.working_dir: must not contain "..": "/x/../y"'],
    ['', '/../x', 'InvalidArgument: working directory of the image: must not contain "..": "/../x"'],
  ] as [string, string, string][]) {
    it(`working directory ${JSON.stringify(workingDir)} over ${JSON.stringify(ofImage)}`, () => {
      const act = () => toCwd(containerConfig({ workingDir }), { ...image, workingDir: ofImage });
      expect(expected.startsWith('/') ? act() : refusalOf(act)).to.equal(expected);
    });
  }
});
