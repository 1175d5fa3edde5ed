import { X509Certificate } from 'node:crypto';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import https from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:tls';
import { expect } from 'chai';
import type { Logger } from '../../runtime/base/logger.js';
import { RuntimeError } from '../../runtime/errors.js';
import { keyPairsOf, selfSignedPairs } from './key-pair.js';
import { selfSigned } from './self-signed.js';

describe('key pairs', () => {
  let directory = '';
  const warnings: string[] = [];
  const quiet: Logger = {
    debug: () => undefined,
    info: () => undefined,
    warn: (message) => void warnings.push(message),
    error: () => undefined,
  };
  const files = () => ({
    certFile: path.join(directory, 'tls.crt'),
    keyFile: path.join(directory, 'tls.key'),
  });
  const write = async (pair: { readonly cert: string; readonly key: string }): Promise<void> => {
    for (const [file, text] of [
      [files().keyFile, pair.key],
      [files().certFile, pair.cert],
    ] as const) {
      await writeFile(`${file}.new`, text);
      await rename(`${file}.new`, file);
    }
  };
  const make = () => selfSigned({ names: ['localhost'], addresses: ['127.0.0.1'] });

  before(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'pw-tls-'));
  });
  after(async () => {
    await rm(directory, { recursive: true });
  });

  it('are made for names and addresses', async () => {
    const { cert, validUntil } = await selfSigned({
      names: ['localhost', 'node-1.example'],
      addresses: ['10.1.2.3', '::1', 'fd00:1::2:3', '::ffff:10.0.0.1'],
    });
    const made = new X509Certificate(cert);
    expect(made.verify(made.publicKey)).to.equal(true);
    for (const host of ['localhost', 'node-1.example']) expect(made.checkHost(host)).to.equal(host);
    for (const address of ['10.1.2.3', '::1', 'fd00:1::2:3', '::ffff:10.0.0.1'])
      expect(made.checkIP(address)).to.equal(address);
    expect(made.checkIP('10.1.2.4')).to.equal(undefined);
    expect(made.keyUsage).to.deep.equal(['1.3.6.1.5.5.7.3.1']);
    expect(made.ca).to.equal(false);
    expect(new Date(made.validTo).getTime()).to.be.closeTo(validUntil.getTime(), 1000);
    expect(new Date(made.validFrom).getTime()).to.be.below(Date.now());
  });

  it('serve clients that verify them', async () => {
    const pair = await (await selfSignedPairs('127.0.0.1')).current();
    const server = https.createServer({ cert: pair.cert, key: pair.key }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const client = connect({ port, host: '127.0.0.1', ca: pair.cert });
    await once(client, 'secureConnect');
    expect(client.authorized).to.equal(true);
    client.destroy();
    server.close();
  });

  it('are read anew when the files change', async () => {
    const [first, second] = [await make(), await make()];
    await write(first);
    const pairs = await keyPairsOf(files(), quiet);
    const before = await pairs.current();
    expect(before.cert).to.equal(first.cert);
    expect(await pairs.current()).to.equal(before);
    await write(second);
    expect((await pairs.current()).cert).to.equal(second.cert);
  });

  it('stay as they are when the files are of no use', async () => {
    const pair = await make();
    await write(pair);
    const pairs = await keyPairsOf(files(), quiet);
    warnings.length = 0;
    await writeFile(files().keyFile, 'nonsense');
    for (let time = 0; time < 3; time++) expect((await pairs.current()).cert).to.equal(pair.cert);
    await rm(files().certFile);
    expect((await pairs.current()).cert).to.equal(pair.cert);
    expect(warnings).to.have.length(2);
  });

  it('are refused to begin with, naming the file', async () => {
    const [one, other] = [await make(), await make()];
    const refusal = async (): Promise<string> => {
      const error: unknown = await keyPairsOf(files(), quiet).catch((caught: unknown) => caught);
      expect(error).to.be.instanceOf(RuntimeError);
      return (error as RuntimeError).message;
    };
    await write({ cert: one.cert, key: other.key });
    expect(await refusal()).to.match(/tls\.key: it is not the key of the certificate in .*tls\.crt$/);
    await write({ cert: 'nonsense', key: one.key });
    expect(await refusal()).to.match(/tls\.crt: it holds no certificate in PEM form/);
    await rm(files().keyFile);
    expect(await refusal()).to.match(/tls\.key: ENOENT/);
  });
});
