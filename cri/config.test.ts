import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { RuntimeError } from '../runtime/errors.js';
import { loadConfig } from './config.js';
import { printConfig, printReference } from './config-print.js';
import { describeOption } from './config-describe.js';

describe('configuration', () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), 'podwright-config-'));
  });
  after(() => rm(directory, { recursive: true }));

  async function load(toml: string | undefined, ...settings: string[]) {
    const file = path.join(directory, 'config.toml');
    await writeFile(file, toml ?? '');
    return loadConfig({ file, settings });
  }

  async function refusal(toml: string, ...settings: string[]): Promise<string> {
    try {
      await load(toml, ...settings);
    } catch (error) {
      expect(error).to.be.instanceOf(RuntimeError).with.property('code', 'InvalidArgument');
      return (error as Error).message.replaceAll(directory, '');
    }
    throw new Error('the configuration was accepted');
  }

  it('has a default and a documentation for every option', async () => {
    const { config, origins } = await load('');
    expect(config.root).to.equal('/var/lib/podwright');
    expect(config.network.bin_dirs).to.deep.equal(['/opt/cni/bin', '/usr/lib/cni']);
    expect(config.network.builtin).to.equal(false);
    for (const key of origins.keys()) {
      const { text, form } = describeOption(key.split('.'));
      expect(text, key).to.match(/^[A-Z].*\.$/);
      expect(form, key).not.to.match(/^$|undefined|object/);
    }
    expect(new Set(origins.values())).to.deep.equal(new Set(['default']));
  });

  it('takes file over default and --set over file', async () => {
    const { config, origins } = await load(
      'root = "/a"\n[log]\nlevel = "warn"\nformat = "json"\n',
      'log.level=debug',
      'network.bin_dirs=/x,/y',
      'network.builtin=true',
      'registry.config_path=["/certs"]',
      'limits.shutdown_grace_seconds=3',
    );
    expect(config).to.deep.include({ root: '/a', log: { level: 'debug', format: 'json' } });
    expect(config.network.bin_dirs).to.deep.equal(['/x', '/y']);
    expect(config.network.builtin).to.equal(true);
    expect(config.registry.config_path).to.deep.equal(['/certs']);
    expect(config.limits.shutdown_grace_seconds).to.equal(3);
    expect(origins.get('log.level')).to.equal('--set');
    expect(origins.get('log.format')).to.match(/\/config\.toml:4$/);
    expect(origins.get('socket')).to.equal('default');
  });

  for (const { name, toml = '', settings = [], says } of [
    {
      name: 'an unknown key, with its line',
      toml: '[log]\nlevel = "info"\ncolour = 1\n',
      says: 'configuration: /config.toml:3: log.colour: no such option',
    },
    {
      name: 'an unknown section',
      toml: '\n[nope]\nx = 1\n',
      says: 'configuration: /config.toml:2: nope: no such option',
    },
    {
      name: 'a wrong value, with its line',
      toml: 'version = 1\n\n[log]\nlevel = "loud"\n',
      says: 'configuration: /config.toml:4: log.level: ',
    },
    { name: 'another version', toml: 'version = 2', says: 'configuration: /config.toml:1: version: ' },
    {
      name: 'a relative path',
      toml: 'root = "x"',
      says: 'configuration: /config.toml:1: root: must be an absolute path',
    },
    {
      name: 'broken TOML, with its line',
      toml: 'root = "/a"\nstate = \n',
      says: 'configuration /config.toml:2: ',
    },
    {
      name: 'a setting without value',
      settings: ['log.level'],
      says: 'option --set log.level: is not of the form KEY=VALUE',
    },
    {
      name: 'a setting of an unknown key',
      settings: ['log.x=1'],
      says: 'configuration: --set: log.x: no such option',
    },
    {
      name: 'a setting below an option',
      settings: ['root.x=1'],
      toml: 'root="/a"',
      says: 'option --set root.x=1: root is not a section',
    },
    {
      name: 'a prototype as key',
      settings: ['__proto__.x=1'],
      says: 'configuration: --set: __proto__: no such option',
    },
    {
      name: 'a long socket path',
      settings: [`socket=/${'x'.repeat(100)}`],
      says: 'configuration: --set: socket: must be at most 100 bytes',
    },
  ] as { name: string; toml?: string; settings?: string[]; says: string }[]) {
    it(`refuses ${name}`, async () => {
      expect(await refusal(toml, ...settings)).to.contain(says);
    });
  }

  describe('drop-ins', () => {
    const dropIn = (name: string, toml: string) => writeFile(path.join(directory, name), toml);
    beforeEach(async () => {
      await mkdir(path.join(directory, 'conf.d'), { recursive: true });
      await mkdir(path.join(directory, 'elsewhere'), { recursive: true });
    });
    afterEach(async () => {
      await rm(path.join(directory, 'conf.d'), { recursive: true });
      await rm(path.join(directory, 'elsewhere'), { recursive: true });
    });

    it('lie over the file in the order of their names, key by key, and below --set', async () => {
      await dropIn('conf.d/20.toml', '[network]\nbin_dirs = ["/c"]\nbridge = "b"\n');
      await dropIn('conf.d/10.toml', '# first\n[network]\nbin_dirs = ["/a", "/b"]\nbuiltin = true\n');
      await dropIn('conf.d/30.toml.bak', 'nonsense');
      await dropIn('conf.d/.40.toml', 'nonsense');
      const { config, origins } = await load(
        '[network]\nbridge = "a"\n[log]\nlevel = "warn"\n',
        'network.bridge=c',
      );
      expect(config.network).to.include({ builtin: true, bridge: 'c' });
      expect(config.network.bin_dirs).to.deep.equal(['/c']);
      expect(config.log.level).to.equal('warn');
      const origin = (key: string) => origins.get(key)?.replace(directory, '');
      expect(origin('network.bin_dirs')).to.equal('/conf.d/20.toml:2');
      expect(origin('network.builtin')).to.equal('/conf.d/10.toml:4');
      expect(origin('network.bridge')).to.equal('--set');
      expect(origin('log.level')).to.equal('/config.toml:4');
      expect(origin('log.format')).to.equal('default');
    });

    it('may lie in a directory that the file or --set names', async () => {
      await dropIn('conf.d/10.toml', 'root = "/beside"\n');
      await dropIn('elsewhere/10.toml', 'root = "/elsewhere"\n');
      const named = path.join(directory, 'elsewhere');
      expect((await load('')).config.root).to.equal('/beside');
      expect((await load(`drop_in_dir = "${named}"`)).config.root).to.equal('/elsewhere');
      expect((await load('', `drop_in_dir=${named}`)).config.root).to.equal('/elsewhere');
    });

    for (const [toml, says] of [
      ['[log]\n\nlevel = "loud"\n', '/conf.d/10.toml:3: log.level: '],
      ['[log]\ncolour = 1\n', '/conf.d/10.toml:2: log.colour: no such option'],
      ['log = 3\n', '/conf.d/10.toml:1: log: '],
      ['a = \n', '/conf.d/10.toml:1: '],
      ['[network]\npool = ["10.0.0.0/8", "x"]\n', '/conf.d/10.toml:2: network.pool.1: '],
      ['drop_in_dir = "/x"\n', '/conf.d/10.toml:1: drop_in_dir: a drop-in cannot'],
    ] as const)
      it(`are refused with file, line and key: ${says}`, async () => {
        await dropIn('conf.d/10.toml', toml);
        expect(await refusal('[log]\nformat = "json"\n')).to.contain(says);
      });
  });

  it('has a reference that names every option', async () => {
    const text = printReference();
    for (const key of (await load('')).origins.keys()) expect(text).to.contain(`### \`${key}\``);
  });

  it('refuses a missing file that was named', async () => {
    const file = path.join(directory, 'absent.toml');
    await loadConfig({ file, settings: [] }).then(
      () => expect.fail('accepted'),
      (error: unknown) => expect(error).to.have.property('message').that.contains('absent.toml'),
    );
  });

  it('prints what it can read back', async () => {
    const loaded = await load('[log]\nlevel = "warn"\n', 'network.builtin=true');
    const text = printConfig(loaded);
    expect(text).to.match(/# Least severe level written\. \(.*\/config\.toml:2\)\nlevel = "warn"/);
    expect(text).to.contain('(--set)\nbuiltin = true');
    const file = path.join(directory, 'printed.toml');
    await writeFile(file, text);
    expect((await loadConfig({ file, settings: [] })).config).to.deep.equal(loaded.config);
    expect(await readFile(file, 'utf8')).to.equal(text);
  });
});
