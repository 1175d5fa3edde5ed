import { expect } from 'chai';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { silentLogger } from '../../base/logger.js';
import { findEndpoints } from './hosts.js';
import type { Endpoint } from './endpoint.js';

describe('hosts.toml', () => {
  let root = '';

  beforeEach(async () => {
    root = await mkdtemp(path.join(tmpdir(), 'podwright-hosts-'));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  async function write(directory: string, files: Readonly<Record<string, string>>): Promise<void> {
    await mkdir(path.join(root, directory), { recursive: true });
    for (const [name, text] of Object.entries(files)) await writeFile(path.join(root, directory, name), text);
  }

  const find = (domain: string, plainHttpLoopback = false): Promise<readonly Endpoint[]> =>
    findEndpoints(domain, {
      configPath: [path.join(root, 'missing'), root],
      plainHttpLoopback,
      logger: silentLogger,
    });

  it('reaches a registry without configuration by https', async () => {
    expect(await find('quay.io')).to.have.length(1);
    expect((await find('quay.io'))[0]).to.include({
      origin: 'https://quay.io',
      prefix: '/v2',
      mirror: false,
    });
    expect((await find('docker.io'))[0]).to.include({ origin: 'https://registry-1.docker.io' });
    expect((await find('127.0.0.1:5000'))[0]).to.include({ origin: 'https://127.0.0.1:5000' });
    expect((await find('127.0.0.1:5000'))[0]?.plainHttp).to.include({ origin: 'http://127.0.0.1:5000' });
    expect((await find('10.0.0.1:5000'))[0]?.plainHttp).to.equal(undefined);
  });

  it('takes plain http at once only for loopback, if told so', async () => {
    expect((await find('127.0.0.1:5000', true))[0]?.origin).to.equal('http://127.0.0.1:5000');
    expect((await find('localhost:5000', true))[0]?.origin).to.equal('http://localhost:5000');
    expect((await find('[::1]:5000', true))[0]?.origin).to.equal('http://[::1]:5000');
    expect((await find('127.0.0.1.example.org', true))[0]?.origin).to.equal('https://127.0.0.1.example.org');
    expect((await find('10.0.0.1:5000', true))[0]?.origin).to.equal('https://10.0.0.1:5000');
  });

  it('reads mirrors in the order of the file, the registry last', async () => {
    await write('docker.io', {
      'ca.pem': 'CA',
      'hosts.toml': `
        server = "https://registry-1.docker.io"
        ca = "ca.pem"
        [host."http://127.0.0.1:5001"]
          capabilities = ["pull", "resolve"]
        [host."https://zzz.example/cache/v2/hub"]
          capabilities = ["pull"]
          override_path = true
          skip_verify = true
          dial_timeout = "1m30s"
          [host."https://zzz.example/cache/v2/hub".header]
            Authorization = "Bearer abc"
            x-many = ["a", "b"]
        [host."aaa.example/prefix"]
        [host."https://push.example"]
          capabilities = ["push"]`,
    });
    const endpoints = await find('docker.io');
    expect(
      endpoints.map(({ origin, prefix, mirror, resolves }) => [origin + prefix, mirror, resolves]),
    ).to.deep.equal([
      ['http://127.0.0.1:5001/v2', true, true],
      ['https://zzz.example/cache/v2/hub', true, false],
      ['https://aaa.example/prefix/v2', true, true],
      ['https://registry-1.docker.io/v2', false, true],
    ]);
    expect(endpoints[1]).to.deep.include({
      dialTimeoutMs: 90_000,
      headers: { authorization: ['Bearer abc'], 'x-many': ['a', 'b'] },
    });
    expect(endpoints[1]?.tls.skipVerify).to.equal(true);
    expect(endpoints[3]?.tls.ca).to.deep.equal(['CA']);
  });

  it('reads client certificates in all three forms', async () => {
    await write('r.example', {
      'both.pem': 'BOTH',
      'c.pem': 'CERT',
      'k.pem': 'KEY',
      'hosts.toml': `
        [host."https://a"]
          client = "both.pem"
        [host."https://b"]
          client = ["both.pem"]
        [host."https://c"]
          client = [["c.pem", "k.pem"], ["both.pem", ""]]`,
    });
    const both = { cert: 'BOTH', key: 'BOTH' };
    const [a, b, c] = await find('r.example');
    expect(a?.tls.client).to.deep.equal([both]);
    expect(b?.tls.client).to.deep.equal([both]);
    expect(c?.tls.client).to.deep.equal([{ cert: 'CERT', key: 'KEY' }, both]);
  });

  it('finds the directory by host, host_port_ and _default, in this order', async () => {
    await write('_default', { 'hosts.toml': '[host."https://default.example"]' });
    await write('r.example:5000', { 'hosts.toml': '[host."https://colon.example"]' });
    expect((await find('r.example:5000'))[0]?.host).to.equal('colon.example');
    await write('r.example_5000_', { 'hosts.toml': '[host."https://underscore.example"]' });
    expect((await find('r.example:5000'))[0]?.host).to.equal('underscore.example');
    const [mirror, own] = await find('other.example');
    expect(mirror?.host).to.equal('default.example');
    expect(own).to.include({ host: 'other.example', mirror: false });
  });

  it("reads docker's certificate files where there is no hosts.toml", async () => {
    await write('r.example', { 'a.crt': 'CA', 'client.cert': 'CERT', 'client.key': 'KEY', readme: '' });
    const [own] = await find('r.example');
    expect(own?.tls).to.deep.equal({ ca: ['CA'], client: [{ cert: 'CERT', key: 'KEY' }], skipVerify: false });
  });

  const broken: readonly (readonly [string, string])[] = [
    ['server = [', 'hosts.toml'],
    ['server = 5', 'server'],
    ['[host."https://a"]\nskip_verify = "yes"', 'host.https://a.skip_verify'],
    ['[host."https://a"]\ndial_timeout = "soon"', 'host.https://a.dial_timeout'],
    ['[host."https://a"]\ncapabilities = ["fly"]', 'host.https://a.capabilities[0]'],
    ['[host."https://a"]\n[host."https://a".header]\nx = "a\\nb"', 'host.https://a.header.x'],
    ['[host."https://user:secret@a"]', 'must not hold credentials'],
    ['[host."https://"]', 'is no URL'],
    ['[host."https://a"]\nca = "missing.pem"', 'missing.pem'],
  ];
  for (const [text, named] of broken)
    it(`names file and key: ${named}`, async () => {
      await write('r.example', { 'hosts.toml': text });
      const error: unknown = await find('r.example').catch((thrown: unknown) => thrown);
      expect(error).to.include({ code: 'FailedPrecondition', reason: 'RegistryConfigInvalid' });
      expect((error as Error).message)
        .to.contain(path.join(root, 'r.example', 'hosts.toml'))
        .and.contain(named);
      expect((error as Error).message).not.to.contain('secret');
    });
});
